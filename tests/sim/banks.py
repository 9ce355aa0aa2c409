"""Banks that do not keep what they promise, each in its own way, and one workload that is wrong."""

import random as random_module
from typing import Any

import liferaft
from examples.bank.bank import Bank, InsufficientFunds


class LossyBank(Bank):
    """Takes before it looks: a refused transfer loses what the account had."""

    @liferaft.raises(InsufficientFunds)
    def transfer(self, source: str, target: str, amount: int) -> None:
        balance = self.accounts.get(source, 0)
        self.accounts[source] = max(0, balance - amount)
        if balance < amount:
            raise InsufficientFunds(source, balance)
        self.accounts[target] = self.accounts.get(target, 0) + amount


class DreamingBank(Bank):
    """Pays an interest that each replica dreams up on its own."""

    def deposit(self, account: str, amount: int) -> int:
        return super().deposit(account, amount + random_module.randint(0, 1000))


async def greedy_workload(bank: Any, random: random_module.Random) -> None:
    """Believe that there is always money."""
    await bank.deposit("alice", random.randint(1, 9))
    balances = await bank.balances()
    assert balances["alice"] > 1_000_000, balances


async def typing_error(bank: Any, random: random_module.Random) -> None:
    """Be wrong in itself."""
    await bank.deposit("alice", 1)
    raise KeyError(random.choice("ab"))


def never_content(bank: Bank) -> bool:
    """Say no as soon as there is money."""
    return not bank.accounts


def only_two_accounts(bank: Bank) -> None:
    """Not bear a third account."""
    assert len(bank.accounts) <= 2, sorted(bank.accounts)


async def hasty_workload(bank: Any, random: random_module.Random) -> None:
    """Wait for no answer."""
    await bank.deposit("alice", random.randint(1, 9))
    raise liferaft.DeadlineExceeded("no time")
