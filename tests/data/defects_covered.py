"""The 87 known defects of the reference, and for each the tests that show it absent here.

``tests/unit/test_defects.py`` checks that every defect is listed and that every test exists.
"""

COMPILE = "tests/unit/trail/test_trail_compile_vectors.py"
BYTES = "tests/unit/trail/test_trail_byte_vectors.py"
COMPILER = "tests/unit/trail/test_trail_compiler.py"
PROGRAM = "tests/unit/trail/test_trail_program.py"
LOADING = "tests/unit/trail/test_trail_loading.py"
CONVERSION = "tests/unit/trail/test_trail_conversion.py"
PRINTER = "tests/unit/trail/test_trail_printer.py"
VERIFIER = "tests/unit/trail/test_trail_verifier.py"
NOTES = "tests/unit/trail/test_trail_notes.py"
EXECUTOR = "tests/unit/replay/test_executor.py"
MODES = "tests/unit/replay/test_executor_modes.py"
EVENT = "tests/unit/replay/test_event.py"
META = "tests/unit/replay/test_meta_trail.py"
REPLAY = "tests/unit/replay/test_replay_vectors.py"
FILES = "tests/unit/world/test_file_world.py"
PROGRAMS = "tests/unit/world/test_file_world_programs.py"
MOCK = "tests/unit/world/test_mock_world.py"
CLI = "tests/unit/cli/test_cli_trail.py"
JUDGE = "tests/unit/guest/test_capability_judge.py"
DEFECTS = "tests/unit/test_defects.py"

COVERED: dict[str, tuple[str, ...]] = {
    # encoding, strings, compiler
    "D01": (
        f"{COMPILER}::test_strings_that_version_1_cannot_hold_are_refused_there_with_entry_key_and_size",
        f"{COMPILE}::test_what_version_1_would_corrupt_is_written_as_version_2_or_refused",
    ),
    "D02": (
        f"{COMPILER}::test_the_agent_byte_is_the_first_of_the_names_digest_unless_given",
        f"{COMPILER}::test_the_same_worklog_gives_the_same_bytes_in_every_process",
    ),
    "D03": (
        f"{COMPILER}::test_colliding_strings_are_kept_apart_or_refused_and_never_merged",
        f"{PROGRAM}::test_an_encoder_refuses_to_merge_colliding_strings",
    ),
    "D17": (f"{PROGRAMS}::test_a_repository_goes_by_its_number_or_its_configured_directory",),
    "D18": (f"{COMPILER}::test_an_unusable_value_is_an_error_with_entry_and_key",),
    "D19": (f"{COMPILER}::test_an_unusable_value_is_an_error_with_entry_and_key",),
    "D20": (f"{COMPILE}::test_a_worklog_that_the_reference_rejects_is_one_kind_of_error",),
    "D21": (f"{COMPILER}::test_a_misspelt_key_is_named_together_with_the_nearest_valid_one",),
    "D22": (f"{COMPILER}::test_an_unusable_value_is_an_error_with_entry_and_key",),
    "D23": (f"{COMPILER}::test_a_reused_compiler_keeps_nothing_of_the_worklog_before",),
    "D24": (f"{COMPILER}::test_an_unusable_value_is_an_error_with_entry_and_key",),
    "D25": (
        f"{CONVERSION}::test_joined_trails_keep_every_string_and_the_order_of_their_steps",
        f"{CONVERSION}::test_joined_trails_say_where_each_part_came_from",
        f"{CONVERSION}::test_the_worst_status_wins",
    ),
    "D27": (
        f"{PROGRAM}::test_what_does_not_fit_is_one_kind_of_error",
        f"{VERIFIER}::test_what_its_record_cannot_hold_is_an_error",
    ),
    "D30": (
        f"{PROGRAM}::test_what_does_not_fit_is_one_kind_of_error",
        f"{PROGRAM}::test_65536_strings_do_not_fit_version_1",
        f"{COMPILER}::test_65535_steps_fit_version_1_and_one_more_needs_version_2",
    ),
    "D31": (
        f"{COMPILER}::test_a_bad_begin_is_named_by_its_key",
        f"{COMPILER}::test_a_time_after_2106_needs_version_2",
        f"{PROGRAM}::test_what_does_not_fit_is_one_kind_of_error",
    ),
    "D32": (f"{COMPILER}::test_an_empty_trail_id_is_no_id",),
    "D80": (f"{PROGRAM}::test_an_encoder_copies_the_table_it_is_given",),
    "D82": (
        f"{COMPILE}::test_what_version_1_would_corrupt_is_written_as_version_2_or_refused",
        f"{LOADING}::test_each_rule_has_a_finding",
    ),
    "D86": (
        f"{NOTES}::test_what_a_trail_cannot_hold_is_kept_beside_it_and_bound_to_it",
        f"{LOADING}::test_the_agent_is_the_one_text_that_nothing_refers_to",
    ),
    # decoding, identity, fingerprint
    "D04": (
        f"{LOADING}::test_each_rule_has_a_finding",
        f"{BYTES}::test_strict_loading_accepts_only_what_is_sound",
    ),
    "D05": (f"{BYTES}::test_plain_decoding_refuses_what_is_malformed_and_nothing_else",),
    "D06": (f"{BYTES}::test_plain_decoding_refuses_what_is_malformed_and_nothing_else",),
    "D07": (f"{LOADING}::test_each_rule_has_a_finding",),
    "D08": (f"{BYTES}::test_plain_decoding_refuses_what_is_malformed_and_nothing_else",),
    "D09": (
        f"{LOADING}::test_each_rule_has_a_finding",
        f"{COMPILE}::test_an_unframed_worklog_compiles_for_inspection_but_is_no_trail",
    ),
    "D10": (f"{LOADING}::test_each_rule_has_a_finding", f"{COMPILER}::test_a_worklog_must_be_framed"),
    "D11": (
        f"{LOADING}::test_each_rule_has_a_finding",
        f"{COMPILER}::test_counted_steps_are_written_by_the_encoder_and_not_believed",
    ),
    "D12": (f"{COMPILE}::test_plain_decoding_gives_the_steps_and_strings_of_the_reference",),
    "D13": (f"{PROGRAM}::test_decoding_and_encoding_give_the_same_bytes",),
    "D14": (f"{LOADING}::test_a_trail_is_identified_by_the_digest_of_its_file",),
    "D15": (
        f"{COMPILE}::test_a_worklog_without_a_time_is_written_with_time_zero_and_never_the_clock",
        f"{VERIFIER}::test_verifying_twice_gives_the_same_answer_whatever_the_clock_says",
    ),
    "D16": (
        f"{REPLAY}::test_a_push_names_its_repository_by_number",
        f"{BYTES}::test_operands_resolve_as_in_the_reference",
        f"{BYTES}::test_strict_loading_accepts_only_what_is_sound",
    ),
    "D26": (f"{EXECUTOR}::test_the_end_of_a_trail_shows_how_its_run_went_beside_how_the_replay_did",),
    "D28": (
        f"{LOADING}::test_each_rule_has_a_finding",
        f"{VERIFIER}::test_the_number_of_operands_is_exact",
    ),
    "D29": (f"{BYTES}::test_plain_decoding_refuses_what_is_malformed_and_nothing_else",),
    # listing and verifier
    "D33": (f"{PRINTER}::test_the_hex_listing_shows_true_offsets",),
    "D34": (f"{PRINTER}::test_the_text_listing_resolves_operands_by_signature",),
    "D35": (f"{PRINTER}::test_no_listing_holds_what_a_terminal_would_act_on",),
    "D36": (f"{VERIFIER}::test_the_byte_verifier_uses_the_strings_of_the_bytes",),
    "D37": (f"{VERIFIER}::test_findings_are_those_of_the_last_verification_alone",),
    "D38": (f"{VERIFIER}::test_with_a_table_every_reference_must_be_in_it_by_signature",),
    "D39": (f"{VERIFIER}::test_what_its_record_cannot_hold_is_an_error",),
    # executor, events, meta-trail
    "D40": (
        f"{MODES}::test_a_text_that_mentions_an_error_is_a_success_everywhere",
        f"{REPLAY}::test_comments_and_paths_with_the_word_error_do_not_fail",
        f"{MODES}::test_a_dry_run_cannot_fail",
    ),
    "D41": (f"{PROGRAMS}::test_a_test_run_succeeds_if_tests_ran_passed_and_were_as_many_as_expected",),
    "D42": (f"{MODES}::test_a_text_that_mentions_an_error_is_a_success_everywhere",),
    "D43": (f"{EXECUTOR}::test_a_method_that_returns_no_text_is_a_failed_step_and_the_result_is_kept",),
    "D44": (
        f"{MODES}::test_executing_while_paused_is_neither_success_nor_finished",
        f"{MODES}::test_a_pause_from_within_a_world_holds_after_that_step",
    ),
    "D45": (f"{MODES}::test_executing_after_single_steps_repeats_no_effect",),
    "D46": (f"{MODES}::test_resuming_from_a_step_that_is_not_there_is_refused",),
    "D47": (
        f"{MODES}::test_single_steps_finish_with_the_last_step_and_offer_a_result",
        f"{MODES}::test_single_steps_heed_fail_fast",
    ),
    "D48": (f"{META}::test_a_label_stays_a_label",),
    "D49": (f"{META}::test_a_bound_meta_trail_has_the_time_of_its_source_whatever_the_clock_says",),
    "D50": (f"{MODES}::test_long_results_that_differ_late_give_different_meta_trails",),
    "D51": (f"{META}::test_a_long_result_is_cut_at_a_character_to_a_string_of_version_1",),
    "D52": (
        f"{EVENT}::test_the_chain_covers_every_fact_of_an_event",
        f"{EVENT}::test_an_event_that_was_changed_under_its_proof_is_not_loaded",
    ),
    "D53": (f"{META}::test_different_trails_with_equal_outcomes_have_different_meta_trails",),
    "D54": (
        f"{LOADING}::test_hostile_bytes_cost_little_memory",
        f"{META}::test_more_steps_than_version_1_can_hold_give_a_meta_trail_of_version_2",
    ),
    "D55": (f"{MODES}::test_replaying_the_meta_trail_of_a_failed_run_succeeds",),
    "D56": (f"{MODES}::test_a_replay_in_which_no_action_succeeded_has_failed",),
    "D57": (f"{REPLAY}::test_the_agent_that_is_levelled_is_the_trails_own_or_the_runs",),
    "D58": (f"{REPLAY}::test_markers_say_that_they_do_nothing",),
    "D59": (
        f"{EXECUTOR}::test_verify_holds_for_a_whole_replay_alone",
        f"{EXECUTOR}::test_verify_is_false_for_a_trail_that_never_ran",
    ),
    "D60": (f"{EXECUTOR}::test_the_json_of_a_result_holds_the_meta_trail_and_reads_back",),
    "D61": (f"{EXECUTOR}::test_dry_runs_of_ambiguous_texts_differ_in_their_operands",),
    # worlds
    "D62": (f"{FILES}::test_a_path_outside_is_refused_and_nothing_there_is_touched",),
    "D63": (f"{FILES}::test_a_path_outside_is_refused_and_nothing_there_is_touched",),
    "D64": (
        f"{FILES}::test_a_link_is_never_followed_or_replaced",
        f"{FILES}::test_a_linked_directory_is_never_entered",
    ),
    "D65": (f"{FILES}::test_a_read_tells_files_of_equal_length_apart_by_digest",),
    "D66": (f"{FILES}::test_an_edit_preserves_every_other_byte",),
    "D67": (f"{FILES}::test_an_edit_that_is_not_exact_changes_nothing",),
    "D68": (f"{FILES}::test_an_edit_that_is_not_exact_changes_nothing",),
    "D69": (
        f"{FILES}::test_a_backup_never_replaces_a_file_of_the_users",
        f"{FILES}::test_an_edit_that_fails_makes_no_backup",
        f"{FILES}::test_backups_are_neither_committed_nor_found",
    ),
    "D70": (f"{PROGRAMS}::test_nothing_to_commit_and_an_empty_message_are_told_apart",),
    "D71": (
        f"{PROGRAMS}::test_a_trail_cannot_write_what_git_would_run",
        f"{PROGRAMS}::test_a_commit_runs_no_program_that_a_configuration_names",
    ),
    "D72": (
        f"{PROGRAMS}::test_a_test_run_succeeds_if_tests_ran_passed_and_were_as_many_as_expected",
        f"{PROGRAMS}::test_tests_run_in_the_workspace_with_a_clean_environment",
    ),
    "D73": (f"{PROGRAMS}::test_a_search_finds_files_and_takes_every_pattern_as_data",),
    "D74": (f"{PROGRAMS}::test_an_invalid_pattern_is_an_error_that_says_why_and_not_no_match",),
    "D75": (f"{FILES}::test_a_call_that_needs_a_ledger_is_skipped_and_says_so",),
    "D76": (f"{PROGRAMS}::test_a_failed_push_tells_why_without_a_path_of_the_machine",),
    "D77": (f"{MOCK}::test_reset_forgets_calls_results_and_failures",),
    "D81": (f"{PROGRAMS}::test_a_missing_directory_is_not_called_a_missing_git",),
    # tools, tests, documentation
    "D78": (f"{LOADING}::test_a_trail_is_identified_by_the_digest_of_its_file",),
    "D79": (f"{CLI}::test_what_is_no_trail_is_one_sentence",),
    "D83": (
        f"{COMPILER}::test_the_same_worklog_gives_the_same_bytes_in_every_process",
        f"{VERIFIER}::test_verifying_twice_gives_the_same_answer_whatever_the_clock_says",
    ),
    "D84": (f"{EXECUTOR}::test_an_object_without_the_methods_is_no_world",),
    "D85": (f"{DEFECTS}::test_every_plugin_that_the_tests_configure_is_a_declared_dependency",),
    "X01": (
        f"{JUDGE}::test_what_the_host_granted_can_be_passed_on_and_nothing_else",
        f"{JUDGE}::test_exercising_asks_for_the_trust_that_a_query_asks_for",
    ),
}
