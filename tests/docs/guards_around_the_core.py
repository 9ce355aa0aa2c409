"""The guards of docs/correctness.md in what runs a node: cluster, storage and replicated."""

from tests.docs.guard import Guard

NODE = (
    Guard(
        1,
        "cluster.driver:Driver._send",
        "if effect.after > self._stored_mark:",
        "if False:",
        "tests/cluster/test_driver.py::test_trap_1_a_vote_leaves_the_node_after_the_sync",
    ),
    Guard(
        21,
        "cluster.driver:Driver._apply_one",
        "if entry.kind == EntryKind.COMMAND:",
        "if True:",
        "tests/cluster/test_driver.py::test_trap_21_the_no_op_is_not_for_the_state_machine",
    ),
    Guard(
        29,
        "cluster.peers:Mailbox.deliver",
        "if cluster_id != self._cluster_id:",
        "if False:",
        "tests/cluster/test_peers.py::test_a_message_of_another_cluster_is_dropped_and_told_once",
    ),
    Guard(
        29,
        "storage.directory:_bind",
        "    if found != identity:\n",
        "    if False:\n",
        "tests/storage/test_directory.py::test_a_directory_of_somebody_else_is_refused",
    ),
)

DISK = (
    Guard(
        18,
        "storage.wal:first_that_fit",
        "if total > bytes_max and count > 0:",
        "if total > bytes_max:",
        "tests/storage/test_wal.py::test_read_returns_what_fits_and_at_least_one_entry",
    ),
    Guard(
        28,
        "storage.directory:_bind",
        "            raise _ownerless(path)\n        return bind",
        "            pass\n        return bind",
        "tests/storage/test_directory.py::test_a_log_without_an_identity_is_refused",
    ),
    Guard(
        28,
        "cluster.member:Member.is_taken_for",
        'if self.introductions.own.disk_id in ("", disk_id):',
        "if True:",
        "tests/cluster/test_introductions.py::test_a_voter_that_forgot_its_vote_is_refused_under_its_old_name",
    ),
    Guard(
        28,
        "cluster.introductions:Introductions.is_stranger",
        "return bool(known and disk_id and known != disk_id)",
        "return False",
        "tests/cluster/test_introductions.py::test_a_disk_of_which_nothing_is_known_is_no_stranger",
    ),
    Guard(
        35,
        "storage.segment:sync",
        '        raise DiskFailed(f"{path} could not be synced: {error}") from error',
        "        file.sync()",
        "tests/cluster/test_driver.py::test_trap_35_a_sync_that_fails_ends_the_node",
    ),
    Guard(
        35,
        "cluster.driver:Driver._fail",
        "            self._on_failure(error)",
        "            pass",
        "tests/cluster/test_driver.py::test_trap_35_a_sync_that_fails_ends_the_node",
    ),
    Guard(
        36,
        "storage.segment:sync_directory",
        "        disk.sync_directory(directory)\n",
        "        pass\n",
        "tests/storage/test_recovery.py::test_what_was_reported_as_stored_survives_every_crash",
    ),
    Guard(
        36,
        "storage.directory:bind_directory",
        "    disk.rename(target + _NEW_SUFFIX, target)\n    disk.sync_directory(path)\n",
        "    disk.rename(target + _NEW_SUFFIX, target)\n",
        "tests/storage/test_directory.py::test_the_first_configuration_is_remembered",
    ),
    Guard(
        37,
        "storage.recovery:_Reader._check_tail",
        "        if found is not None:\n            what",
        "        if False:\n            what",
        "tests/storage/test_recovery.py::test_the_last_acknowledged_entry_is_not_cut_as_torn",
    ),
    Guard(
        37,
        "storage.wal:WriteAheadLog._next_group",
        "None if self._is_sealed else SEAL_AFTER",
        "None",
        "tests/storage/test_wal.py::test_an_idle_log_seals_its_last_record_once",
    ),
    Guard(
        38,
        "storage.recovery:_Reader.read_all",
        "            raise damage\n",
        "            pass\n",
        "tests/storage/test_recovery.py::test_damage_before_the_tail_is_refused_with_place_and_remedy",
    ),
    Guard(
        39,
        "storage.wal:WriteAheadLog._check",
        "if term > self._hard_state.current_term:",
        "if False:",
        "tests/storage/test_wal.py::test_a_broken_promise_never_reaches_the_disk",
    ),
    Guard(
        39,
        "raft.core:_first_state",
        "if raft_log.last_term > hard_state.current_term:",
        "if False:",
        "tests/raft/test_core.py::test_a_log_of_a_later_term_than_the_nodes_own_is_refused",
    ),
)

CLIENTS = (
    Guard(
        40,
        "cluster.proposals:Proposals.claim",
        "if proposal is not None and term != entry.term:",
        "if False:",
        "tests/cluster/test_proposals.py::test_an_entry_of_another_term_at_the_index_means_that_the_command_is_lost",
    ),
    Guard(
        40,
        "cluster.driver:Driver._role_changed",
        "            self._proposals.lose_all(effect.leader)\n",
        "            pass\n",
        "tests/cluster/test_driver.py::test_trap_40_who_waits_learns_at_once_that_its_node_leads_no_more",
    ),
    Guard(
        41,
        "replicated.machine:ReplicatedMachine._call",
        "        if reply is None:\n",
        "        if True:\n",
        "tests/replicated/test_machine.py::test_a_repeated_command_gets_the_first_one_s_answer_and_does_not_run_again",
    ),
    Guard(
        41,
        "replicated.machine:ReplicatedMachine._call",
        "        if call.number < session.acked_below:\n",
        "        if False:\n",
        "tests/replicated/test_machine.py::test_an_old_copy_of_an_acknowledged_call_does_not_run_again",
    ),
    Guard(
        42,
        "replicated.machine:ReplicatedMachine._call",
        "        if session is None:\n            return encode_failure(\n",
        "        if session is None:\n"
        "            self.sessions.open(command.session, self._wall_now)\n"
        "            return self._call(command)\n"
        "            return encode_failure(\n",
        "tests/replicated/test_machine.py::test_a_forgotten_session_gets_an_error_and_never_a_second_execution",
    ),
    Guard(
        42,
        "replicated.sessions:SessionTable._forget_idle",
        "is_idle = wall_now - oldest.last_active_wall > SESSION_IDLE_MAX",
        "is_idle = False",
        "tests/replicated/test_sessions.py::test_a_session_that_was_idle_for_too_long_is_forgotten_when_another_opens",
    ),
    Guard(
        43,
        "replicated.machine:ReplicatedMachine._call",
        "        session.acknowledge(call.acked_below)\n",
        "        session.acknowledge(call.number)\n",
        "tests/replicated/test_machine.py::test_a_late_call_is_not_taken_for_a_repeat",
    ),
    Guard(
        44,
        "cluster.reads:Reads.answer",
        "while self._confirmed and self._confirmed[0][0] <= applied_index:",
        "while self._confirmed:",
        "tests/cluster/test_reads.py::test_a_confirmed_read_waits_until_its_index_is_applied",
    ),
    Guard(
        46,
        "replicated.machine:ReplicatedMachine._execute_once",
        "with CommandContext(self._wall_now, command.seed):",
        "if True:",
        "tests/replicated/test_machine.py::test_time_and_chance_come_from_the_entry",
    ),
    Guard(
        46,
        "replicated.machine:_without_traceback",
        "return error.with_traceback(None)",
        "return error",
        "tests/replicated/test_machine.py::test_an_undeclared_exception_carries_no_path_of_this_machine",
    ),
    Guard(
        46,
        "replicated.state:_ordered",
        "return sorted(_encode(_ordered(each)) for each in value)",
        "return [_encode(_ordered(each)) for each in value]",
        "tests/replicated/test_state.py::test_the_order_of_a_set_does_not_show",
    ),
    Guard(
        47,
        "replicated.machine:ReplicatedObject.execute",
        "        except Exception as error:  # noqa: BLE001 - an exception is the command's result",
        "        except ZeroDivisionError as error:",
        "tests/replicated/test_machine.py::test_a_declared_exception_is_the_command_s_result",
    ),
    Guard(
        47,
        "cluster.driver:Driver._turn",
        "            self._fail(failure)",
        "            pass",
        "tests/cluster/test_driver.py::test_trap_47_an_exception_in_apply_ends_the_node_and_skips_no_entry",
    ),
)

SNAPSHOTS = (
    Guard(
        30,
        "replicated.snapshot:_sections",
        "for batch in _batches(sessions):",
        "for batch in _batches({}):",
        "tests/replicated/test_snapshot.py::test_a_restored_machine_is_equal_in_everything",
    ),
    Guard(
        30,
        "replicated.machine:ReplicatedMachine.install",
        "        self._wall_now = contents.machine.wall_now\n",
        "",
        "tests/replicated/test_snapshot.py::test_the_log_s_time_goes_on_where_it_was",
    ),
    Guard(
        30,
        "replicated.machine:ReplicatedMachine.snapshot",
        "            if self.applied_index != index:\n",
        "            if False:\n",
        "tests/replicated/test_snapshot.py::test_a_command_in_the_midst_of_a_snapshot_spoils_it",
    ),
    Guard(
        31,
        "storage.recovery:_Reader.read_all",
        "        if not self._holds(self._base):\n",
        "        if False:\n",
        "tests/storage/test_compaction.py::test_a_crash_before_the_log_began_anew_finds_it_void",
    ),
    Guard(
        31,
        "cluster.driver:Driver._restore_snapshot",
        "            self._log.begin_anew(EntryId(snapshot.term, snapshot.index))",
        "            pass",
        "tests/cluster/test_snapshotting.py::test_a_follower_that_is_far_behind_is_sent_a_snapshot",
    ),
    Guard(
        32,
        "replicated.machine:ReplicatedMachine.install",
        "        if contents.machine.applied_index < self.applied_index:\n",
        "        if False:\n",
        "tests/replicated/test_snapshot.py::test_the_state_never_goes_back",
    ),
    Guard(
        32,
        "storage.snapshots:SnapshotStore._check_fetched",
        "if content.snapshot != snapshot or content.head.cluster_id != self._cluster_id:",
        "if False:",
        "tests/storage/test_snapshots.py::test_what_was_fetched_and_is_not_what_was_offered_is_thrown_away",
    ),
    Guard(
        32,
        "storage.snapshots:_write_at",
        "        file.truncate(offset)\n        file.write(offset, data)\n",
        "        file.write(file.size(), data)\n",
        "tests/storage/test_snapshots.py::test_a_piece_that_comes_twice_is_written_once",
    ),
    Guard(
        33,
        "storage.snapshots:SnapshotStore._is_read",
        "return read_at is not None and now - read_at < KEPT_AFTER_READ",
        "return False",
        "tests/storage/test_snapshots.py::test_a_snapshot_that_is_read_stays_for_a_while",
    ),
    Guard(
        34,
        "storage.disk:SystemDisk.write_aside",
        "        if CAN_FORK:\n            return run_forked",
        "        if False:\n            return run_forked",
        "tests/storage/test_forked.py::test_trap_34_a_snapshot_is_written_by_a_process_of_its_own",
    ),
    Guard(
        36,
        "storage.snapshots:SnapshotStore._name",
        "        sync_directory(self._disk, self._directory)\n        for name",
        "        for name",
        "tests/storage/test_snapshots.py::test_trap_36_the_name_of_what_was_taken_survives_the_power_too",
    ),
    Guard(
        41,
        "replicated.machine:ReplicatedMachine.install",
        "        self.sessions.replace(contents.sessions)\n",
        "",
        "tests/replicated/test_snapshot.py::test_a_restored_machine_answers_old_calls_from_the_sessions_and_runs_nothing_twice",
    ),
)

GUARDS = (*NODE, *DISK, *SNAPSHOTS, *CLIENTS)
