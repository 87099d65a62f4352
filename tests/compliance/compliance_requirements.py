"""What SQLite and PostgreSQL can do, in the words of SQLAlchemy's dialect suite.

A requirement that is not named here stays as `SuiteRequirements` has it. The tables follow what
SQLAlchemy states for these two databases in its own repository (test/requirements.py, which its
wheels do not carry), as far as the suite asks: about 1,300 of its tests run on either.
"""

from __future__ import annotations

from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.testing import exclusions
from sqlalchemy.testing.requirements import SuiteRequirements

BOTH = """
    check_constraint_reflection computed_columns_reflect_persisted computed_columns_stored
    computed_columns_virtual create_table_as create_temp_table_as ctes_with_values
    datetime_literals expression_server_defaults fetch_expression fetch_offset_with_options
    fk_constraint_option_reflection_ondelete_noaction
    fk_constraint_option_reflection_ondelete_restrict
    fk_constraint_option_reflection_onupdate_restrict
    float_or_double_precision_behaves_generically foreign_key_constraint_name_reflection
    foreign_key_constraint_option_reflection_ondelete
    foreign_key_constraint_option_reflection_onupdate has_temp_table index_ddl_if_exists
    indexes_check_column_order indexes_with_expressions infinity_floats
    inline_check_constraint_reflection json_array_indexes legacy_unconditional_json_extract
    order_by_collation precision_numerics_retains_significant_digits reflects_pk_names
    regexp_match repeated_column_foreign_keys server_defaults skip_autocommit_rollback
    supports_bitwise_and supports_bitwise_not supports_bitwise_or supports_bitwise_shift
    supports_bitwise_xor table_ddl_if_exists temp_table_names temporary_views tuple_in
    tuple_in_w_empty update_from view_column_reflection view_reflection views window_range
    window_range_numeric
"""
POSTGRESQL_ONLY = """
    cast_precision_numerics_many_significant_digits column_collation_reflection
    comment_reflection comment_reflection_full_unicode constraint_comment_reflection
    create_or_replace_view cross_schema_fk_reflection ctes_with_update_delete fetch_first
    fetch_no_order_by fetch_ties identity_columns identity_columns_standard
    implicitly_named_constraints independent_connections independent_readonly_connections
    index_reflects_included_columns json_deserializer_binary
    json_index_supplementary_unicode_element materialized_views
    parens_in_union_contained_select_w_limit_offset
    parens_in_union_contained_select_wo_limit_offset precision_numerics_many_significant_digits
    reflect_indexes_with_expressions regexp_replace schema_create_delete
    supports_distinct_on temp_table_comment_reflection unique_constraints_reflect_as_index
    uuid_data_type window_range_non_numeric
"""
SQLITE_ONLY = "dbapi_lastrowid nvarchar_types"


class Requirements(SuiteRequirements):
    """Requirements of the suite for SQLite in memory and for PostgreSQL."""

    @property
    def reflect_table_options(self) -> exclusions.compound:
        """SQLite has them with SQLAlchemy 2.0 and 2.1, PostgreSQL with 2.1 only."""
        return exclusions.only_if(
            lambda config: (
                type(config.db.dialect).get_table_options is not Dialect.get_table_options
            )
        )

    def get_order_by_collation(self, config) -> str:
        """Name a collation that sorts the suite's rows as it expects."""
        return {"postgresql": "POSIX", "sqlite": "NOCASE"}[config.db.name]


def _only_on(*databases: str) -> property:
    return property(lambda self: exclusions.only_on(databases))


for _names, _databases in (
    (BOTH, ("postgresql", "sqlite")),
    (POSTGRESQL_ONLY, ("postgresql",)),
    (SQLITE_ONLY, ("sqlite",)),
):
    for _name in _names.split():
        setattr(Requirements, _name, _only_on(*_databases))
