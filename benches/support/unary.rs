//! Unary requests over one connection: a fixed number in flight, or a fixed rate.

use std::{
    collections::VecDeque,
    sync::OnceLock,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tonic::Code;

use super::{
    http2::{Connection, Event, Result},
    requests::{Bodies, write_counter},
    status::grpc_status,
};

/// Time to wait for outstanding responses after the end.
const DRAIN: Duration = Duration::from_secs(10);
/// Maximum wait for a response before the clock is checked.
const TIMEOUT: Duration = Duration::from_millis(200);

/// The prefix of a message: compression flag and length.
const PREFIX_BYTES: usize = 5;

/// The schedule of requests.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// A fixed number in flight: a new request for each response.
    InFlight(usize),
    /// At a fixed rate: the first after `phase`, then one per `interval`.
    Schedule { phase: Duration, interval: Duration },
}

/// The work of one connection.
pub(crate) struct Work<'a> {
    pub(crate) bodies: &'a Bodies,
    /// First bytes of a successful response.
    pub(crate) response_prefix: &'static [u8],
    pub(crate) pace: Pace,
    /// Requests before this time do not count.
    pub(crate) from: Instant,
    pub(crate) until: Instant,
    /// The counter of the first request, and its increment per request.
    pub(crate) counter: (u64, u64),
    /// Receives the first failed request of any connection.
    pub(crate) first_failure: &'a OnceLock<Failed>,
}

/// A failed request.
pub(crate) struct Failed {
    pub(crate) body: Vec<u8>,
    /// The gRPC status, if the server sent one.
    pub(crate) code: Option<Code>,
}

impl Work<'_> {
    fn counter_at(&self, nth: usize) -> u64 {
        let (first, step) = self.counter;
        first + step * u64::try_from(nth).unwrap()
    }

    /// The body of the n-th request.
    fn body_of(&self, nth: usize) -> Vec<u8> {
        let (body, counter) = self.bodies.get(nth);
        let mut body = body.to_vec();
        if let Some(at) = counter {
            write_counter(&mut body, at, self.counter_at(nth));
        }
        body
    }
}

/// The results of a connection.
pub(crate) struct RunResult {
    /// In nanoseconds.
    pub(crate) latencies: Histogram<u64>,
    pub(crate) failed: u64,
    pub(crate) last_response: Option<Instant>,
}

impl Default for RunResult {
    fn default() -> Self {
        Self {
            latencies: new_histogram(),
            failed: 0,
            last_response: None,
        }
    }
}

/// Creates a histogram of nanoseconds with a relative error of at most 0.1 percent.
pub(crate) fn new_histogram() -> Histogram<u64> {
    Histogram::new(3).unwrap()
}

struct Pending {
    start: Instant,
    nth: usize,
    /// Number of response bytes so far, and how many of the first ones matched.
    came: usize,
    matched: usize,
}

impl Pending {
    fn receive(&mut self, bytes: &[u8], response_prefix: &[u8]) {
        let whole = PREFIX_BYTES + response_prefix.len();
        for (index, byte) in (self.came..whole).zip(bytes) {
            let expected = index
                .checked_sub(PREFIX_BYTES)
                .and_then(|index| response_prefix.get(index));
            self.matched += usize::from(expected == Some(byte));
        }
        self.came += bytes.len();
    }
}

/// The requests in flight, found by stream id in constant time because ids are sequential.
#[derive(Default)]
struct InFlight {
    slots: VecDeque<Option<Pending>>,
    first_stream: u32,
    count: usize,
}

impl InFlight {
    fn push(&mut self, stream: u32, pending: Pending) {
        if self.slots.is_empty() {
            self.first_stream = stream;
        }
        self.slots.push_back(Some(pending));
        self.count += 1;
    }

    fn slot(&mut self, stream: u32) -> Option<&mut Option<Pending>> {
        let index = stream.checked_sub(self.first_stream)? / 2;
        self.slots.get_mut(usize::try_from(index).ok()?)
    }

    fn take(&mut self, stream: u32) -> Option<Pending> {
        let pending = self.slot(stream)?.take()?;
        self.count -= 1;
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first_stream += 2;
        }
        Some(pending)
    }
}

struct Run<'a> {
    work: Work<'a>,
    connection: Connection,
    in_flight: InFlight,
    sent: usize,
    outcome: RunResult,
}

/// Sends requests until the end, and waits for the last responses.
pub(crate) fn run(connection: Connection, work: Work<'_>, begin: Instant) -> Result<RunResult> {
    connection.set_timeout(Some(TIMEOUT))?;
    let mut run = Run {
        work,
        connection,
        in_flight: InFlight::default(),
        sent: 0,
        outcome: RunResult::default(),
    };
    let mut now = begin;
    loop {
        let next_due = match run.work.pace {
            Pace::InFlight(most) => run.send_up_to(most, now),
            Pace::Schedule { .. } => run.send_what_is_due(begin, now),
        };
        run.connection.flush()?;
        let is_over = now >= run.work.until && next_due.is_none_or(|due| due >= run.work.until);
        if is_over && run.in_flight.count == 0 {
            return Ok(run.outcome);
        }
        if now > run.work.until + DRAIN {
            let lost = run.in_flight.count + run.never_sent(begin);
            run.outcome.failed += u64::try_from(lost).unwrap();
            return Ok(run.outcome);
        }
        // A socket timeout is too coarse for a schedule.
        let may_read = match next_due {
            Some(due) => run
                .connection
                .wait(due.saturating_duration_since(Instant::now()))?,
            None => true,
        };
        if may_read {
            run.connection.read()?;
        }
        now = Instant::now();
        run.take_responses(now)?;
    }
}

impl Run<'_> {
    fn send_up_to(&mut self, most: usize, now: Instant) -> Option<Instant> {
        while now < self.work.until && self.in_flight.count < most && self.send(now) {}
        None
    }

    /// Time of the next scheduled request; `None`: no schedule, or it is over.
    fn next_due(&self, begin: Instant) -> Option<Instant> {
        let Pace::Schedule { phase, interval } = self.work.pace else {
            return None;
        };
        let due = begin + phase + interval.mul_f64(self.sent as f64);
        Some(due).filter(|due| *due < self.work.until)
    }

    /// Returns the time of the next request; `None`: it waits for a response, or there is none.
    fn send_what_is_due(&mut self, begin: Instant, now: Instant) -> Option<Instant> {
        loop {
            let due = self.next_due(begin)?;
            if due > now {
                return Some(due);
            }
            if !self.send(due) {
                return None;
            }
        }
    }

    fn never_sent(&mut self, begin: Instant) -> usize {
        let sent = self.sent;
        while self.next_due(begin).is_some() {
            self.sent += 1;
        }
        self.sent - sent
    }

    /// Returns true if the window had room.
    fn send(&mut self, start: Instant) -> bool {
        let (body, counter) = self.work.bodies.get(self.sent);
        if self.in_flight.count >= self.connection.max_streams()
            || !self.connection.has_room(body.len())
        {
            return false;
        }
        let stream = self.connection.open();
        let sent = self.connection.send(stream, body, true);
        if let Some(at) = counter {
            write_counter(sent, at, self.work.counter_at(self.sent));
        }
        let pending = Pending {
            start,
            nth: self.sent,
            came: 0,
            matched: 0,
        };
        self.in_flight.push(stream, pending);
        self.sent += 1;
        true
    }

    fn take_responses(&mut self, now: Instant) -> Result<()> {
        while let Some(event) = self.connection.next_event()? {
            let (stream, ending) = match event {
                Event::Data {
                    stream,
                    bytes,
                    ends,
                } => {
                    if let Some(Some(pending)) = self.in_flight.slot(stream) {
                        pending.receive(bytes, self.work.response_prefix);
                    }
                    if !ends {
                        continue;
                    }
                    (stream, Ending::Broken)
                }
                Event::Headers {
                    stream,
                    block,
                    ends: true,
                } => (stream, Ending::Trailers(block)),
                Event::Reset { stream, .. } => (stream, Ending::Broken),
                Event::Headers { .. } | Event::Window { .. } => continue,
            };
            let Some(pending) = self.in_flight.take(stream) else {
                continue;
            };
            match ending {
                Ending::Trailers(_) if pending.matched == self.work.response_prefix.len() => {
                    count(&self.work, &mut self.outcome, &pending, now);
                }
                Ending::Trailers(_) | Ending::Broken => {
                    self.outcome.failed += 1;
                    let code = ending.code();
                    let work = &self.work;
                    work.first_failure.get_or_init(|| Failed {
                        body: work.body_of(pending.nth),
                        code,
                    });
                }
            }
        }
        Ok(())
    }
}

/// The end of a stream.
#[derive(Clone, Copy)]
enum Ending<'a> {
    Trailers(&'a [u8]),
    Broken,
}

impl Ending<'_> {
    fn code(self) -> Option<Code> {
        match self {
            Self::Trailers(block) => grpc_status(block),
            Self::Broken => None,
        }
    }
}

fn count(work: &Work<'_>, outcome: &mut RunResult, pending: &Pending, now: Instant) {
    // With a schedule, latency counts from the scheduled time: late requests count in full.
    let counted_at = match work.pace {
        Pace::InFlight(_) => now,
        Pace::Schedule { .. } => pending.start,
    };
    if (work.from..work.until).contains(&counted_at) {
        let latency = now.saturating_duration_since(pending.start);
        let nanos = u64::try_from(latency.as_nanos()).unwrap();
        outcome.latencies.record(nanos).unwrap();
        outcome.last_response = Some(now);
    }
}
