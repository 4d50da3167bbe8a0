//! Statements of the database: a metric of their durations, and spans under those of the RPCs that wait
//! for them, by OpenTelemetry's semantic conventions for databases. Neither contains a value.

use std::time::Duration;

use opentelemetry::{
    KeyValue,
    time::now,
    trace::{Span as _, SpanBuilder, SpanKind, Status, Tracer},
};

use super::{
    metrics::{self, DatabaseOperation, DatabasePoolName},
    request, rpc_span,
};

/// A pool of connections to a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabasePool {
    /// Its name in metrics.
    pub name: DatabasePoolName,
    /// `postgresql` or `sqlite`.
    pub system: &'static str,
    /// The name of the database; `None` for an embedded one.
    pub namespace: Option<String>,
    /// The host, address or socket of the server; `None` for an embedded database.
    pub address: Option<String>,
    /// The port of the server; `None` for an embedded database.
    pub port: Option<u16>,
}

/// A statement that ended.
#[derive(Clone, Copy, Debug)]
pub struct Statement {
    /// Its verb.
    pub operation: DatabaseOperation,
    /// The time that it took.
    pub elapsed: Duration,
    /// True if it failed.
    pub has_failed: bool,
}

impl DatabasePool {
    /// Records a statement for the RPCs of this task. `table` returns the table that it is about; it is
    /// called if a span is exported.
    pub fn record(&self, statement: Statement, table: impl FnOnce() -> Option<&'static str>) {
        let Statement {
            operation, elapsed, ..
        } = statement;
        metrics::database_operation(self.name, operation, elapsed);
        let is_wait = operation == DatabaseOperation::Begin;
        let parents = request::record_statement(is_wait, elapsed);
        let (Some(tracer), false) = (rpc_span::tracer(), parents.is_empty()) else {
            return;
        };
        let builder = self.span(statement, table());
        for parent in parents {
            let mut span = tracer.build_with_context(builder.clone(), &parent);
            if statement.has_failed {
                span.set_status(Status::error(""));
            }
            span.end();
        }
    }

    fn span(&self, statement: Statement, table: Option<&'static str>) -> SpanBuilder {
        let operation = statement.operation.as_str();
        let summary = table.map(|table| format!("{operation} {table}"));
        let mut attributes = vec![
            KeyValue::new("db.system.name", self.system),
            KeyValue::new("db.operation.name", operation),
        ];
        attributes.extend(table.map(|table| KeyValue::new("db.collection.name", table)));
        attributes.extend(
            summary
                .clone()
                .map(|text| KeyValue::new("db.query.summary", text)),
        );
        let namespace = self.namespace.clone();
        attributes.extend(namespace.map(|name| KeyValue::new("db.namespace", name)));
        let address = self.address.clone();
        attributes.extend(address.map(|address| KeyValue::new("server.address", address)));
        let port = self.port.map(i64::from);
        attributes.extend(port.map(|port| KeyValue::new("server.port", port)));
        if statement.has_failed {
            attributes.push(KeyValue::new("error.type", "_OTHER"));
        }
        SpanBuilder::from_name(summary.unwrap_or_else(|| operation.to_owned()))
            .with_kind(SpanKind::Client)
            .with_start_time(now() - statement.elapsed)
            .with_attributes(attributes)
    }
}
