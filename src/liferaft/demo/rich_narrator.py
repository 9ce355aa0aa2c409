"""Tells the story on a terminal: lines that stay; below them nodes, clients and progress."""

from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from liferaft.cluster.admin import NodeStatus
from liferaft.demo.narrator import Scene

ROLE_STYLES: Final = {"leader": "bold green", "follower": "", "candidate": "yellow"}


class RichNarrator:
    """Paints with rich. The terminal is its own between the first `show` and `close`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("the story"), BarColumn(bar_width=None), TimeRemainingColumn(), expand=True
        )
        self._task = self._progress.add_task("", total=1.0)
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def tell(self, elapsed: float, sentence: str) -> None:
        """Print a line above what is shown."""
        line = Text(f"{elapsed:6.1f} s  ", style="dim")
        line.append(sentence, style="not dim")
        self._console.print(line)

    def show(self, scene: Scene) -> None:
        """Paint how things stand."""
        self._progress.update(self._task, completed=min(scene.elapsed / scene.duration, 1.0))
        self._live.start()
        self._live.update(Group(_nodes(scene), _clients(scene), self._progress), refresh=True)

    def conclude(self, lines: tuple[str, ...], *, is_ok: bool) -> None:
        """Print the verdict in a frame."""
        self.close()
        style = "green" if is_ok else "red"
        title = "it all holds" if is_ok else "it does not hold"
        self._console.print(Panel(Text("\n".join(lines)), title=title, border_style=style))

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._live.stop()


def _nodes(scene: Scene) -> Table:
    table = Table("node", "role", "term", "commit index", "applied index", expand=True)
    for node, status in scene.nodes.items():
        table.add_row(node, *_node_cells(status, scene.marks.get(node, "")))
    return table


def _node_cells(status: NodeStatus | None, mark: str) -> tuple[Text | str, ...]:
    if status is None or mark:
        return (Text(mark or "does not answer", style="red"), "", "", "")
    role = Text(status.role, style=ROLE_STYLES.get(status.role, ""))
    return (role, str(status.current_term), str(status.commit_index), str(status.applied_index))


def _clients(scene: Scene) -> Table:
    table = Table("client", "added", "completed", "no answer", "sees", expand=True)
    for client, tally in scene.clients.items():
        sees = f"{tally.sees_items} items, {tally.sees_done} done"
        counts = (str(tally.added), str(tally.completed), str(tally.unknown))
        table.add_row(client, *counts, sees)
    return table
