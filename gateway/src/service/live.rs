//! A stream of an execution's output or of its end, held by whoever reads it. Nothing is read ahead of the
//! reader. Dropping it closes the connection to the agent, which ends an attached execution and no other.
//!
//! ```text
//!  reading ──Ended──▶ over          reading ──fault, death, watchdog──▶ explaining ──▶ over
//! ```

use super::exec::{Finish, Job, departure, ended as over, explain, fault, overdue, place, word};
use super::life::departed;
use crate::agent_client::{AgentError, FrameStream, Frames, Item};
use crate::app::App;
use crate::error::ApiResult;
use crate::limits;
use crate::metrics::Open;
use crate::registry::{Departure, Visit};
use bulkhead_protocol::agent::{End, Ended, Usage};
use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How a stream ended.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) finish: Finish,
    pub(crate) usage: Usage,
    pub(crate) output_open: bool,
    /// For people, where the end is not the program's own.
    pub(crate) error: Option<Cow<'static, str>>,
}

/// Whose end it is that the metrics count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    Execution,
    Nothing,
}

/// A stream that is open.
pub(crate) struct Live {
    app: Arc<App>,
    sandbox: Arc<Visit>,
    stream: FrameStream,
    /// The end of the sandbox's launch, or our own watchdog.
    stop: Later<Stop>,
    explaining: Option<Later<Ending>>,
    counts: Counts,
    start: Instant,
    _place: OwnedSemaphorePermit,
    _open: Open,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// Why a stream is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Departed(Departure),
    Overdue,
}

async fn stop(over: impl Future<Output = Departure>, time: Option<Duration>) -> Stop {
    tokio::select! {
        departure = over => Stop::Departed(departure),
        () = overdue(time) => Stop::Overdue,
    }
}

/// Runs a call to the agent; what went wrong becomes what the client learns.
pub(super) async fn reach<T>(
    app: &App,
    sandbox: &Visit,
    call: impl Future<Output = Result<T, AgentError>>,
) -> ApiResult<T> {
    let error = tokio::select! {
        biased;
        answer = call => match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        },
        departure = sandbox.over() => return Err(departed(sandbox, departure)),
    };
    if let Some(departure) = departure(sandbox, &error).await {
        return Err(departed(sandbox, departure));
    }
    Err(explain(app, sandbox, error))
}

/// Starts an execution that ends with the stream; gives its handle.
pub(crate) async fn attached(app: Arc<App>, sandbox: Visit, job: Job) -> ApiResult<(Live, u64)> {
    let place = place(&sandbox)?;
    app.metrics.executions_started.inc();
    let time = job.time;
    let call = async {
        let mut stream = app.agents.start_attached(&sandbox.facts.id, job.spec).await?;
        loop {
            match stream.frames.next()? {
                Some(Item::Started(handle)) => return Ok((stream, handle)),
                Some(_) => {}
                None => stream.more().await?,
            }
        }
    };
    match reach(&app, &sandbox, call).await {
        Ok((stream, handle)) => {
            Ok((Live::new(app, sandbox, Part { stream, time, counts: Counts::Execution, place }), handle))
        }
        Err(error) => {
            over(&app, &sandbox, "failed");
            Err(error)
        }
    }
}

/// The output of an execution that goes on by itself, from the offset `from`.
pub(crate) async fn follow(app: Arc<App>, sandbox: Visit, handle: u64, from: u64) -> ApiResult<Live> {
    let place = place(&sandbox)?;
    let stream = reach(&app, &sandbox, app.agents.output(&sandbox.facts.id, handle, from)).await?;
    Ok(Live::new(app, sandbox, Part { stream, time: None, counts: Counts::Nothing, place }))
}

/// The end of an execution.
pub(crate) async fn end(app: Arc<App>, sandbox: Visit, handle: u64) -> ApiResult<Live> {
    let place = place(&sandbox)?;
    let stream = reach(&app, &sandbox, app.agents.end(&sandbox.facts.id, handle)).await?;
    Ok(Live::new(app, sandbox, Part { stream, time: None, counts: Counts::Nothing, place }))
}

/// What differs between the three above.
struct Part {
    stream: FrameStream,
    time: Option<Duration>,
    counts: Counts,
    place: OwnedSemaphorePermit,
}

impl Live {
    fn new(app: Arc<App>, sandbox: Visit, part: Part) -> Self {
        let Part { stream, time, counts, place } = part;
        let stop = Box::pin(stop(sandbox.over(), time));
        let sandbox = Arc::new(sandbox);
        let open = app.metrics.stream();
        let start = Instant::now();
        Self { app, sandbox, stream, stop, explaining: None, counts, start, _place: place, _open: open }
    }

    /// What has come.
    pub(crate) fn frames(&mut self) -> &mut Frames {
        &mut self.stream.frames
    }

    /// Waits until more has come, or for the end of a stream that breaks off.
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        if self.explaining.is_none() {
            match self.stop.as_mut().poll(cx) {
                Poll::Ready(stop) => return Poll::Ready(Err(self.stopped(stop))),
                Poll::Pending => match ready!(self.stream.poll_more(cx)) {
                    Ok(()) => return Poll::Ready(Ok(())),
                    Err(AgentError::Late(_)) if self.sandbox.excuses_silence() => {
                        self.stream.forgive();
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Err(error) => self.broke(error),
                },
            }
        }
        let Some(explaining) = &mut self.explaining else { return Poll::Pending };
        let ending = ready!(explaining.as_mut().poll(cx));
        self.count(ending.finish);
        Poll::Ready(Err(ending))
    }

    fn count(&mut self, finish: Finish) {
        if self.counts == Counts::Execution {
            self.counts = Counts::Nothing;
            over(&self.app, &self.sandbox, word(finish));
        }
    }

    /// The agent said how the execution ended.
    pub(crate) fn ended(&mut self, ended: Ended) -> Ending {
        let finish = Finish::Told(ended.end);
        self.count(finish);
        let error = match ended.end {
            End::Timeout => Some("the time was up; everything that ran was killed"),
            End::Oom => Some("the memory limit was reached"),
            End::Killed => Some("it was killed"),
            End::Exited { .. } | End::Signaled { .. } => None,
        };
        Ending { finish, usage: ended.usage, output_open: ended.output_open, error: error.map(Cow::Borrowed) }
    }

    fn stopped(&mut self, stop: Stop) -> Ending {
        let (finish, error) = match stop {
            Stop::Departed(departure) => (departure.into(), ended(departure)),
            Stop::Overdue => {
                fault(&self.app, &self.sandbox, &AgentError::Late("end of an execution"));
                (Finish::Told(End::Timeout), "the time was up")
            }
        };
        self.count(finish);
        Ending { finish, usage: usage(self.start), output_open: false, error: Some(Cow::Borrowed(error)) }
    }

    /// The agent broke off or broke the protocol; the reason comes from [`Self::poll_more`].
    pub(crate) fn broke(&mut self, error: AgentError) {
        let (app, sandbox, start) = (Arc::clone(&self.app), Arc::clone(&self.sandbox), self.start);
        self.explaining = Some(Box::pin(async move {
            let (finish, error) = match departure(&sandbox, &error).await {
                Some(departure) => (departure.into(), Cow::Borrowed(ended(departure))),
                None => (Finish::Gone, explain(&app, &sandbox, error).message),
            };
            Ending { finish, usage: usage(start), output_open: false, error: Some(error) }
        }));
    }

    /// Reads to the end and forgets the output.
    pub(crate) async fn finish(mut self) -> Ending {
        loop {
            match self.frames().next() {
                Ok(Some(Item::Ended(ended))) => return self.ended(ended),
                Ok(Some(_)) => continue,
                Ok(None) => {}
                Err(error) => self.broke(error),
            }
            if let Err(ending) = poll_fn(|cx| self.poll_more(cx)).await {
                return ending;
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.counts == Counts::Execution {
            // The client left before the end.
            over(&self.app, &self.sandbox, "left");
        }
    }
}

/// Why a stream ends with its sandbox.
fn ended(departure: Departure) -> &'static str {
    match departure {
        Departure::Slept => "the sandbox was put to sleep",
        Departure::Died => "the sandbox ended",
    }
}

fn usage(start: Instant) -> Usage {
    let wall_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(limits::MAX_COUNT);
    Usage { cpu_ms: None, wall_ms, peak_memory_bytes: None }
}
