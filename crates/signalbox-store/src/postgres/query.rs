//! A query put together from the parts that a filter asks for, and what its rows hold.

use std::borrow::Cow;

use tokio_postgres::Row;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::columns::storable;
use super::fault;
use super::pool::Pool;
use crate::StoreError;
use crate::schema::Cell;

/// A value for a `$` of a statement.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A number.
    Number(i64),
    /// Nothing.
    Null,
}

/// A query under construction.
pub(super) struct Query<'a> {
    sql: String,
    values: Vec<Value<'a>>,
}

impl<'a> Query<'a> {
    /// A query that begins with `sql`, whose `?` stand for `values` in order.
    pub(super) fn new<const N: usize>(sql: &str, values: [Value<'a>; N]) -> Self {
        let mut query =
            Self { sql: String::with_capacity(sql.len() + 160), values: Vec::with_capacity(N + 4) };
        query.add(sql, values);
        query
    }

    /// A whole query, whose `?` stand for `values` in order.
    pub(super) fn of(sql: &str, values: Vec<Value<'a>>) -> Self {
        let mut query = Self::new(sql, []);
        query.values = values;
        query
    }

    /// Adds `sql`, whose `?` stand for `values` in order.
    pub(super) fn add<const N: usize>(&mut self, sql: &str, values: [Value<'a>; N]) {
        let mut number = self.values.len();
        for part in sql.split_inclusive('?') {
            match part.strip_suffix('?') {
                Some(text) => {
                    number += 1;
                    self.sql.push_str(text);
                    self.sql.push('$');
                    self.sql.push_str(&number.to_string());
                }
                None => self.sql.push_str(part),
            }
        }
        self.values.extend(values);
    }

    /// The rows.
    pub(super) async fn rows(&self, pool: &Pool) -> Result<Vec<Row>, StoreError> {
        pool.query(&self.sql, &parameters(&self.values)).await
    }

    /// The first `limit` rows, and whether more follow.
    pub(super) async fn page(mut self, pool: &Pool, limit: usize) -> Result<(Vec<Row>, bool), StoreError> {
        self.add(" LIMIT ?", [Value::Number(bound(limit).saturating_add(1))]);
        self.first(pool, limit).await
    }

    /// The first `limit` rows of a query that asks for one more itself, and whether more follow.
    pub(super) async fn first(self, pool: &Pool, limit: usize) -> Result<(Vec<Row>, bool), StoreError> {
        let mut rows = self.rows(pool).await?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Ok((rows, has_more))
    }
}

/// The values as a statement takes them.
pub(super) fn parameters<'v>(values: &'v [Value<'_>]) -> Vec<&'v (dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// A bound as SQL takes it.
pub(super) fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// What a column of a row holds.
pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| StoreError::Corrupt(format!("a stored row: {}", fault::text(&error))))
}

/// The text as an id, which it was when it was stored.
pub(super) fn id<T, E: std::fmt::Display>(parsed: Result<T, E>) -> Result<T, StoreError> {
    parsed.map_err(|error| StoreError::Corrupt(format!("a stored id: {error}")))
}

/// A stored number as one that is never negative.
pub(super) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Corrupt(format!("a stored number is {number}")))
}

/// A text value.
pub(super) fn text(text: &str) -> Value<'_> {
    Value::Text(storable(Cow::Borrowed(text)))
}

impl<'a> From<&Cell<'a>> for Value<'a> {
    fn from(cell: &Cell<'a>) -> Self {
        match cell {
            Cell::Text(text) => Value::Text(storable(text.clone())),
            Cell::Integer(number) => Value::Number(*number),
            Cell::Null => Value::Null,
        }
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(value: Option<&'a str>) -> Self {
        value.map_or(Value::Null, text)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Value::Text(text) => text.to_sql(kind, out),
            Value::Number(number) => number.to_sql(kind, out),
            Value::Null => Ok(IsNull::Yes),
        }
    }

    fn accepts(kind: &Type) -> bool {
        <i64 as ToSql>::accepts(kind) || <&str as ToSql>::accepts(kind)
    }

    to_sql_checked!();
}
