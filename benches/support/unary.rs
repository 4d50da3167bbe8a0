//! Unary calls over one connection: as many in flight as asked for, or at a given rate.

use std::{
    collections::VecDeque,
    sync::OnceLock,
    time::{Duration, Instant},
};

use tonic::Code;

use super::{
    calls::{Bodies, write_counter},
    histogram::Histogram,
    http2::{Event, Link, Result},
    status::grpc_status,
};

/// How long answers are waited for after the end.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a wait for an answer may be before the time is looked at.
const PATIENCE: Duration = Duration::from_millis(200);

/// What stands before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// When calls are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// A new one for each that was answered, so many at once.
    InFlight(usize),
    /// On schedule: the first after `phase`, then one each `interval`.
    Schedule { phase: Duration, interval: Duration },
}

/// What one connection does, and until when.
pub(crate) struct Work<'a> {
    pub(crate) bodies: &'a Bodies,
    /// How the message of a good answer begins.
    pub(crate) answer_begins: &'static [u8],
    pub(crate) pace: Pace,
    /// From when on the calls count.
    pub(crate) from: Instant,
    pub(crate) until: Instant,
    /// What the counter of the first request is, and how much more that of the next.
    pub(crate) counter: (u64, u64),
    /// Takes the first call that failed, whichever connection it was on.
    pub(crate) first_failure: &'a OnceLock<Failed>,
}

/// A call that failed.
pub(crate) struct Failed {
    pub(crate) body: Vec<u8>,
    /// What the server said, where it said something.
    pub(crate) code: Option<Code>,
}

impl Work<'_> {
    fn counter_of(&self, nth: usize) -> u64 {
        let (first, step) = self.counter;
        first + step * u64::try_from(nth).unwrap()
    }

    /// The body of the request that was sent as the n-th.
    fn body_of(&self, nth: usize) -> Vec<u8> {
        let (body, counter) = self.bodies.get(nth);
        let mut body = body.to_vec();
        if let Some(at) = counter {
            write_counter(&mut body, at, self.counter_of(nth));
        }
        body
    }
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) latencies: Histogram,
    pub(crate) failed: u64,
    pub(crate) last_answer: Option<Instant>,
}

struct Pending {
    begun: Instant,
    nth: usize,
    /// How much of the answer came, and how much of its beginning was as expected.
    came: usize,
    matched: usize,
}

impl Pending {
    fn look_at(&mut self, bytes: &[u8], answer_begins: &[u8]) {
        let whole = PREFIX_BYTES + answer_begins.len();
        for (place, byte) in (self.came..whole).zip(bytes) {
            let expected = place
                .checked_sub(PREFIX_BYTES)
                .and_then(|place| answer_begins.get(place));
            self.matched += usize::from(expected == Some(byte));
        }
        self.came += bytes.len();
    }
}

/// The calls in flight: streams are numbered in their order, so a place is found at once.
#[derive(Default)]
struct InFlight {
    places: VecDeque<Option<Pending>>,
    first_stream: u32,
    count: usize,
}

impl InFlight {
    fn push(&mut self, stream: u32, pending: Pending) {
        if self.places.is_empty() {
            self.first_stream = stream;
        }
        self.places.push_back(Some(pending));
        self.count += 1;
    }

    fn place(&mut self, stream: u32) -> Option<&mut Option<Pending>> {
        let index = stream.checked_sub(self.first_stream)? / 2;
        self.places.get_mut(usize::try_from(index).ok()?)
    }

    fn take(&mut self, stream: u32) -> Option<Pending> {
        let pending = self.place(stream)?.take()?;
        self.count -= 1;
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.first_stream += 2;
        }
        Some(pending)
    }
}

struct Run<'a> {
    work: Work<'a>,
    link: Link,
    in_flight: InFlight,
    sent: usize,
    outcome: Outcome,
}

/// Calls until the end, and waits for the last answers.
pub(crate) fn run(link: Link, work: Work<'_>, begin: Instant) -> Result<Outcome> {
    link.set_patience(Some(PATIENCE))?;
    let mut run = Run {
        work,
        link,
        in_flight: InFlight::default(),
        sent: 0,
        outcome: Outcome::default(),
    };
    let mut now = begin;
    loop {
        let next_due = match run.work.pace {
            Pace::InFlight(most) => run.send_up_to(most, now),
            Pace::Schedule { .. } => run.send_what_is_due(begin, now),
        };
        run.link.flush()?;
        let is_over = now >= run.work.until && next_due.is_none_or(|due| due >= run.work.until);
        if is_over && run.in_flight.count == 0 {
            return Ok(run.outcome);
        }
        if now > run.work.until + DRAIN {
            let lost = run.in_flight.count + run.never_sent(begin);
            run.outcome.failed += u64::try_from(lost).unwrap();
            return Ok(run.outcome);
        }
        // A timer of the socket is too coarse for a schedule.
        let may_read = match next_due {
            Some(due) => run
                .link
                .wait(due.saturating_duration_since(Instant::now()))?,
            None => true,
        };
        if may_read {
            run.link.read()?;
        }
        now = Instant::now();
        run.take_answers(now)?;
    }
}

impl Run<'_> {
    fn send_up_to(&mut self, most: usize, now: Instant) -> Option<Instant> {
        while now < self.work.until && self.in_flight.count < most && self.send(now) {}
        None
    }

    /// When the next one is due; `None`: none is, as there is no schedule, or it is over.
    fn next_due(&self, begin: Instant) -> Option<Instant> {
        let Pace::Schedule { phase, interval } = self.work.pace else {
            return None;
        };
        let due = begin + phase + interval.mul_f64(self.sent as f64);
        Some(due).filter(|due| *due < self.work.until)
    }

    /// Gives when the next is due; `None`: an answer must come first, or it was the last.
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

    /// Gives whether there was room.
    fn send(&mut self, begun: Instant) -> bool {
        let (body, counter) = self.work.bodies.get(self.sent);
        if self.in_flight.count >= self.link.max_streams() || !self.link.has_room(body.len()) {
            return false;
        }
        let stream = self.link.open();
        let sent = self.link.send(stream, body, true);
        if let Some(at) = counter {
            write_counter(sent, at, self.work.counter_of(self.sent));
        }
        let pending = Pending {
            begun,
            nth: self.sent,
            came: 0,
            matched: 0,
        };
        self.in_flight.push(stream, pending);
        self.sent += 1;
        true
    }

    fn take_answers(&mut self, now: Instant) -> Result<()> {
        while let Some(event) = self.link.next_event()? {
            let (stream, ending) = match event {
                Event::Data {
                    stream,
                    bytes,
                    ends,
                } => {
                    if let Some(Some(pending)) = self.in_flight.place(stream) {
                        pending.look_at(bytes, self.work.answer_begins);
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
                Ending::Trailers(_) if pending.matched == self.work.answer_begins.len() => {
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

/// How a stream ended.
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

fn count(work: &Work<'_>, outcome: &mut Outcome, pending: &Pending, now: Instant) {
    // On schedule a call counts by when it was due: those that come late count above all.
    let counted_at = match work.pace {
        Pace::InFlight(_) => now,
        Pace::Schedule { .. } => pending.begun,
    };
    if (work.from..work.until).contains(&counted_at) {
        let latency = now.saturating_duration_since(pending.begun);
        outcome.latencies.record(latency);
        outcome.last_answer = Some(now);
    }
}
