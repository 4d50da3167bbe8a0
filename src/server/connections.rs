//! Connections to the gRPC port and the limits of what each may cost.
//!
//! | resource | limit | when it is reached |
//! |---|---|---|
//! | connections | `Limits::connections`, below the limit of file descriptors | an idle connection makes room, unauthenticated ones first (`connection_limit`), at a limited pace (`accept_pacer`) |
//! | time of the handshake | 5 s for TLS, 5 s for the preface of HTTP/2 or the start of a request of HTTP/1.1, 30 s for its head | closed (`accept`) |
//! | head of a request of HTTP/1.1 | 48 KiB | 431, and closed (`connection`) |
//! | frames without a request | 256, 16 more a second, and 4 for each frame of a request or response | closed (`frame_budget`) |
//! | bytes read before the task yields | 4 KiB | other connections are read |
//! | unserved requests before the first authenticated one | 128, then 64 bytes a millisecond for all such connections together | read later (`read_pacer`) |
//! | requests that are cancelled before their response | 16 more than are answered, then 64 bytes a millisecond for all such connections together | read later (`cancellations`, `read_pacer`) |
//! | concurrent streams | 100, 4 of them of health and reflection | rejected by HTTP/2; UNAVAILABLE |
//! | unread bytes of responses | 8 MiB, and 32 MiB in the process | UNAVAILABLE; closed (`api::admission::peer`) |
//! | time without progress of a response, or of the socket's writes | 60 s; nothing is read from it | closed (`api::admission::peer`) |
//! | time to acknowledge a ping, which is sent every 60 s | 20 s | closed (hyper) |
//! | idle time while the server stops | 2 s | closed (`api::admission::peer`) |
//!
//! `docs/operations/client-limits.md` lists the metrics that count how often each limit was reached.

mod accept;
mod accept_pacer;
mod cancellations;
mod connection;
mod frame_budget;
mod read_pacer;
mod transport;

pub(super) use self::{accept::Acceptor, read_pacer::ReadPacers};
