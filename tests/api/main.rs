//! The service as its clients see it: a real server, a real database, a clock
//! that the test moves. One source runs on SQLite and on PostgreSQL.

mod harness;

mod last_standard_contact;
mod recipients;
