//! Columns and indexes that the tables share.

use sea_orm_migration::{
    prelude::{ColumnDef, Index, IndexCreateStatement},
    schema::string_len,
};

pub(super) const CUSTOMER_NUMBER_LENGTH: u32 = 32;

/// The first column of the key of every customer's table.
pub(super) fn customer_number() -> ColumnDef {
    string_len("customer_number", CUSTOMER_NUMBER_LENGTH)
}

/// Creates an index of these columns.
pub(super) fn index<const N: usize>(
    name: &str,
    table: &str,
    columns: [&str; N],
) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name(name).table(table.to_owned());
    for column in columns {
        index.col(column.to_owned());
    }
    index
}
