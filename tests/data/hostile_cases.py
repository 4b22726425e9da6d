"""The 64 classes of attack and fault, and for each the tests that would fail without its defence.

``tests/unit/test_hostile_cases.py`` checks that every case is listed and that every test exists.
"""

FUZZ = "tests/property/test_trail_fuzz.py"
LOADING = "tests/unit/trail/test_trail_loading.py"
V2 = "tests/unit/trail/test_codec_v2.py"
BYTES = "tests/unit/trail/test_trail_byte_vectors.py"
WORKLOG = "tests/unit/trail/test_worklog.py"
COMPILER = "tests/unit/trail/test_trail_compiler.py"
ADMISSION = "tests/unit/policy/test_policy_admission.py"
PATHS = "tests/hostile/test_policy_paths.py"
POLICIES = "tests/hostile/test_policy_files.py"
INTERSECTION = "tests/property/test_policy_intersection.py"
OPENING = "tests/unit/guest/test_guest_paths.py"
FILES = "tests/hostile/test_guest_files.py"
EXHAUSTION = "tests/hostile/test_guest_exhaustion.py"
FORGING = "tests/hostile/test_guest_forging.py"
GIT = "tests/hostile/test_guest_git.py"
METHODS = "tests/integration/test_guest_methods.py"
RUNS = "tests/hostile/test_hostile_runs.py"
SOAK = "tests/hostile/test_soak.py"
CHILDREN = "tests/hostile/test_privilege_children.py"
SYSCALLS = "tests/hostile/test_privilege_syscalls.py"
REPORT = "tests/unit/guest/test_test_report.py"
LIAR = "tests/hostile/test_host_side_lying_guest.py"
CHANNEL = "tests/unit/sandbox/test_channel.py"
WORLD = "tests/unit/sandbox/test_world.py"
DOCKER = "tests/hostile/test_faults_docker.py"
KILLED = "tests/hostile/test_faults_killed_runs.py"
WHOLE = "tests/hostile/test_faults_whole_runs.py"
LIFE = "tests/integration/test_sandbox_life.py"
JANITOR = "tests/integration/test_sandbox_janitor.py"
POOL = "tests/integration/test_sandbox_pool.py"
CLASSIFY = "tests/unit/sandbox/test_classify.py"
CONFINEMENT = "tests/unit/sandbox/test_confinement.py"
MUTATIONS = "tests/hostile/test_record_mutations.py"
VERIFY = "tests/unit/record/test_record_verify.py"
ATTESTATION = "tests/unit/record/test_record_attestation.py"
RECORDER = "tests/unit/record/test_record_recorder.py"
DIRECTORY = "tests/unit/record/test_record_directory.py"
LOGS = "tests/unit/record/test_record_logs.py"
MACHINE = "tests/unit/cli/test_cli_machine.py"
CLI_RUNS = "tests/unit/cli/test_cli_runs.py"
CLI_SNAPSHOT = "tests/unit/cli/test_cli_snapshot.py"
CAPTURE = "tests/hostile/test_snapshot_capture.py"
RESTORE = "tests/hostile/test_snapshot_restore.py"
STORE_FAULTS = "tests/hostile/test_snapshot_faults.py"
IN_SANDBOX = "tests/integration/test_snapshot_sandbox.py"
TREES = "tests/property/test_snapshot_trees.py"
FSCK = "tests/unit/snapshot/test_fsck.py"
STORE = "tests/unit/snapshot/test_store.py"

FOUR = "test_a_fork_bomb_a_memory_bomb_a_flood_and_a_daemon_are_each_told_and_the_last_step_passes"
SURVIVED = "test_what_the_runtime_survives_is_told_under_each_runtime_and_the_last_step_passes"
TAKEN = "test_a_container_that_is_taken_away_is_the_sandboxs_fault_and_the_record_says_so"

COVERED: dict[int, tuple[str, ...]] = {
    # bytecode
    1: (
        f"{FUZZ}::test_mutated_input_ends_in_a_trail_or_a_trail_error",
        f"{V2}::test_a_trail_cut_off_anywhere_is_malformed",
    ),
    2: (
        f"{LOADING}::test_hostile_bytes_cost_little_memory",
        f"{V2}::test_absurd_counts_are_refused_before_anything_is_read",
    ),
    3: (
        f"{LOADING}::test_each_rule_has_a_finding",
        f"{BYTES}::test_strict_loading_accepts_only_what_is_sound",
    ),
    4: (
        f"{WORKLOG}::test_what_is_no_worklog_is_an_error_that_names_the_entry",
        f"{WORKLOG}::test_a_bomb_is_refused_in_under_a_second_and_little_memory",
    ),
    5: (
        f"{COMPILER}::test_limits_stop_a_compilation_by_name",
        f"{V2}::test_each_limit_is_named_by_the_error_that_it_causes",
        f"{ADMISSION}::test_a_budget_that_is_known_beforehand_is_judged_beforehand",
    ),
    # policy
    6: (
        f"{PATHS}::test_a_path_without_a_normal_form_is_refused_under_the_most_open_policy",
        f"{PATHS}::test_no_spelling_of_a_denied_path_gets_past_the_denylist",
        f"{OPENING}::test_a_path_that_is_none_or_leads_out_fails",
    ),
    7: (
        f"{PATHS}::test_names_that_look_alike_are_different_names",
        f"{PATHS}::test_dots_that_only_look_like_dots_lead_nowhere",
    ),
    8: (
        f"{PATHS}::test_a_leading_dash_is_data",
        f"{RUNS}::test_no_pattern_and_no_archive_makes_a_search_slow_or_large",
        f"{METHODS}::test_search_counts_files_sorted_and_takes_any_pattern_as_a_pattern",
    ),
    9: (f"{PATHS}::test_only_named_repositories_exist",),
    10: (
        f"{PATHS}::test_a_commit_message_is_never_judged_as_an_option",
        f"{METHODS}::test_a_commit_is_the_same_everywhere_and_a_push_is_a_bundle_that_clones",
    ),
    11: (
        f"{PATHS}::test_git_internals_are_closed_to_every_file_operation",
        f"{PATHS}::test_files_that_steer_git_can_be_read_and_not_written",
        f"{GIT}::test_no_program_that_a_repository_names_is_run_by_commit_or_push",
    ),
    12: (
        f"{OPENING}::test_a_directory_that_becomes_a_link_during_the_call_leads_nowhere",
        f"{FILES}::test_nothing_is_written_through_a_link_or_into_a_pipe",
        f"{FILES}::test_a_planted_temporary_name_is_no_way_to_another_file",
    ),
    13: (
        f"{INTERSECTION}::test_the_intersection_allows_exactly_what_both_allow",
        f"{INTERSECTION}::test_no_limit_of_the_intersection_is_above_either_side",
    ),
    14: (
        f"{POLICIES}::test_a_broken_policy_is_refused_with_exit_code_2",
        f"{POLICIES}::test_an_empty_policy_allows_nothing",
    ),
    # files
    15: (f"{FILES}::test_nothing_but_a_plain_readable_file_is_read",),
    16: (
        f"{FILES}::test_nothing_but_a_plain_readable_file_is_read",
        f"{FILES}::test_search_is_not_held_up_by_pipes_loops_or_sparse_files",
        f"{CAPTURE}::test_special_files_are_never_opened_and_each_is_listed",
    ),
    17: (
        f"{IN_SANDBOX}::test_a_mess_is_captured_or_listed_entry_by_entry",
        f"{CAPTURE}::test_a_sparse_giant_is_an_omission_and_a_small_sparse_file_is_zeros",
        f"{CAPTURE}::test_a_farm_of_hard_links_is_hashed_and_stored_once",
        f"{CAPTURE}::test_names_of_255_bytes_by_the_thousand_are_all_captured",
        f"{CAPTURE}::test_a_tree_of_3000_levels_is_captured_restored_and_captured_again",
    ),
    18: (
        f"{IN_SANDBOX}::test_a_mess_is_captured_or_listed_entry_by_entry",
        f"{TREES}::test_a_shown_path_is_one_line_and_tells_paths_apart",
        f"{CLI_SNAPSHOT}::test_a_snapshot_is_shown_with_every_name_escaped",
    ),
    19: (
        f"{FILES}::test_nothing_but_a_plain_readable_file_is_read",
        f"{CAPTURE}::test_links_are_captured_as_links_whatever_they_point_at",
    ),
    20: (
        f"{IN_SANDBOX}::test_a_mess_is_captured_or_listed_entry_by_entry",
        f"{CAPTURE}::test_what_nobody_may_read_is_captured_in_a_sandbox_and_listed_elsewhere",
    ),
    21: (
        f"{FILES}::test_set_uid_bits_do_not_survive_a_write",
        f"{CAPTURE}::test_set_user_id_bits_are_dropped_and_said",
        f"{STORE}::test_a_digest_depends_on_content_alone",
    ),
    # exhaustion; what gVisor does differently is said in the tests
    22: (
        f"{RUNS}::{FOUR}",
        f"{EXHAUSTION}::test_a_fork_bomb_that_ignores_signals_and_leaves_its_session_is_over_with_its_call",
    ),
    23: (
        f"{RUNS}::{SURVIVED}",
        f"{FORGING}::test_a_daemon_cannot_speak_for_the_session_and_does_not_outlive_its_call",
    ),
    24: (
        f"{RUNS}::{SURVIVED}",
        f"{FILES}::test_a_full_volume_fails_the_step_and_not_the_guest",
        f"{FILES}::test_full_inodes_fail_the_step_and_not_the_guest",
        f"{CONFINEMENT}::test_nothing_that_lives_in_memory_may_together_reach_the_memory_limit",
    ),
    25: (
        f"{RUNS}::test_a_memory_bomb_is_the_steps_failure_or_the_sandboxs_and_never_a_pass",
        f"{RUNS}::{FOUR}",
    ),
    26: (
        f"{RUNS}::{SURVIVED}",
        f"{EXHAUSTION}::test_a_flood_of_output_is_cut_and_marked",
        f"{SOAK}::test_many_hostile_runs_leave_memory_descriptors_and_disk_as_they_were",
    ),
    27: (
        f"{RUNS}::{SURVIVED}",
        f"{EXHAUSTION}::test_sleeping_ends_at_the_deadline_and_what_ran_before_is_kept",
    ),
    28: (f"{RUNS}::test_no_pattern_and_no_archive_makes_a_search_slow_or_large",),
    29: (f"{RUNS}::{SURVIVED}", f"{CHILDREN}::test_a_child_has_no_privilege_descriptor_or_variable_of_ours"),
    # forging
    30: (
        f"{FORGING}::test_what_ends_early_or_runs_nothing_is_no_pass",
        f"{FORGING}::test_exit_zero_without_a_report_is_called_incomplete",
    ),
    31: (
        f"{FORGING}::test_no_module_of_the_workspace_takes_the_machinerys_place",
        f"{FORGING}::test_no_configuration_or_plugin_of_the_workspace_is_read",
    ),
    32: (f"{FORGING}::test_a_daemon_cannot_speak_for_the_session_and_does_not_outlive_its_call",),
    33: (f"{RUNS}::{SURVIVED}",),
    34: (
        f"{CHILDREN}::test_forged_frames_are_plain_output",
        f"{FORGING}::test_frames_on_any_descriptor_are_plain_data",
    ),
    35: (
        f"{CHILDREN}::test_terminal_escapes_in_output_stay_out_of_texts",
        f"{RUNS}::{FOUR}",
        f"{RECORDER}::test_whatever_a_text_holds_it_stays_one_printable_line",
    ),
    36: (
        f"{MUTATIONS}::test_no_changed_byte_or_line_passes",
        f"{MUTATIONS}::test_no_missing_or_exchanged_file_passes",
        f"{VERIFY}::test_a_line_dropped_repeated_swapped_or_cut_is_noticed",
    ),
    37: (
        f"{ATTESTATION}::test_a_foreign_key_is_not_trusted",
        f"{ATTESTATION}::test_another_payload_type_needs_another_signature",
        f"{VERIFY}::test_another_runs_attestation_is_noticed",
    ),
    38: (f"{FORGING}::test_poisoned_bytecode_has_no_effect",),
    # privilege
    39: (f"{CHILDREN}::test_the_guest_cannot_be_signalled_traced_limited_or_read",),
    40: (f"{SYSCALLS}::test_a_dangerous_system_call_is_denied",),
    41: (f"{CHILDREN}::test_a_child_has_no_privilege_descriptor_or_variable_of_ours",),
    42: (
        f"{CHILDREN}::test_a_child_has_no_privilege_descriptor_or_variable_of_ours",
        f"{EXHAUSTION}::test_a_program_starts_with_nothing_of_ours",
    ),
    43: (f"{CHILDREN}::test_nothing_beyond_its_own_loopback_can_be_reached",),
    44: (f"{CHILDREN}::test_only_the_workspace_and_scratch_can_be_written_and_the_host_is_hidden",),
    45: (f"{CHILDREN}::test_only_the_workspace_and_scratch_can_be_written_and_the_host_is_hidden",),
    # host side
    46: (f"{LIAR}::test_the_host_starts_no_program_and_opens_no_archive_on_what_a_workspace_holds",),
    47: (
        f"{LIAR}::test_a_lying_guest_is_a_typed_error_in_time_and_leaves_nothing",
        f"{LIAR}::test_a_scan_without_end_is_ended",
        f"{CHANNEL}::test_an_answer_that_is_none_is_a_channel_error",
        f"{CHANNEL}::test_memory_stays_flat_under_a_flood_that_nobody_asked_for",
        f"{CAPTURE}::test_a_scan_that_lies_is_the_guests_fault_and_leaves_nothing",
        f"{CAPTURE}::test_contents_that_are_not_what_the_scan_said_are_the_guests_fault",
        f"{WORLD}::test_an_answer_of_another_form_is_a_broken_sandbox_not_a_failed_step",
    ),
    # No report is XML: it comes over a pipe of its own, line by line, with a limit.
    48: (
        f"{LIAR}::test_the_host_starts_no_program_and_opens_no_archive_on_what_a_workspace_holds",
        f"{REPORT}::test_no_report_breaks_the_reader",
        f"{REPORT}::test_a_report_that_was_cut_is_incomplete",
    ),
    # tenants
    49: (
        f"{CLI_RUNS}::test_another_tenants_run_is_not_found",
        f"{CLI_SNAPSHOT}::test_another_tenants_snapshot_is_not_found",
        f"{STORE}::test_two_stores_share_nothing",
    ),
    50: (
        f"{POOL}::test_many_threads_share_a_pool",
        f"{POOL}::test_the_pool_never_holds_more_than_its_size_and_refills",
    ),
    51: (
        f"{DOCKER}::test_two_runners_at_once_do_not_meet",
        f"{CONFINEMENT}::test_uids_differ_and_fit_the_engines_range",
    ),
    52: (
        f"{LOGS}::test_secrets_are_never_written",
        f"{ATTESTATION}::test_a_key_never_shows_itself",
        f"{MACHINE}::test_a_signing_key_that_cannot_be_used_is_named_and_not_quoted",
    ),
    # faults
    53: (
        f"{KILLED}::test_runs_killed_at_random_moments_leave_nothing_in_docker_and_readable_records",
        f"{LIFE}::test_killing_the_runner_during_a_test_run_leaves_nothing",
    ),
    54: (
        f"{KILLED}::test_a_run_killed_while_paused_is_removed_by_clean",
        f"{KILLED}::test_a_run_removes_at_its_start_what_a_dead_run_left",
        f"{JANITOR}::test_what_a_killed_runner_left_is_found_and_removed_and_a_living_ones_is_not",
    ),
    55: (
        f"{DOCKER}::test_docker_gone_in_the_middle_is_a_docker_error_and_the_receipt_admits_what_it_cannot_know",
        f"{MACHINE}::test_a_run_without_docker_is_exit_4_and_leaves_no_record",
    ),
    56: (
        f"{WHOLE}::test_a_full_disk_is_exit_4_and_no_record_looks_whole",
        f"{DIRECTORY}::test_a_full_disk_at_the_end_leaves_a_record_that_does_not_look_whole",
        f"{STORE_FAULTS}::test_no_room_for_what_is_new_is_an_error_and_leaves_what_was_there",
    ),
    57: (
        f"{WHOLE}::{TAKEN}",
        f"{DOCKER}::test_a_guest_killed_between_calls_never_passes_or_fails_a_step",
        f"{CLASSIFY}::test_a_guest_that_is_gone_or_frozen_is_a_sandbox_fault",
    ),
    58: (
        f"{RECORDER}::test_a_call_is_journalled_before_the_world_sees_it",
        f"{RECORDER}::test_a_killed_runner_leaves_whole_lines_and_the_call_in_doubt",
    ),
    59: (f"{WHOLE}::test_two_programs_at_once_on_one_state_directory_are_both_right",),
    # snapshots
    60: (f"{RUNS}::test_a_writer_alive_at_the_end_is_gone_before_the_snapshot",),
    61: (
        f"{TREES}::test_capture_restore_capture_keeps_the_digest_and_loses_nothing",
        f"{IN_SANDBOX}::test_a_filled_sandbox_is_captured_with_the_digest_it_was_filled_from",
    ),
    62: (
        f"{FSCK}::test_every_flipped_byte_of_a_pack_is_found",
        f"{FSCK}::test_a_missing_pack_is_named_with_the_snapshots_it_takes_along",
    ),
    63: (
        f"{RESTORE}::test_overwriting_replaces_planted_links_and_follows_none",
        f"{RESTORE}::test_a_link_swapped_in_during_the_restore_never_leads_outside",
        f"{STORE}::test_restore_refuses_a_directory_that_is_not_empty",
    ),
    64: (f"{WHOLE}::{TAKEN}",),
}
