//! The log of a process, on standard error: what is logged, in which form, and how many lines at most. A tenant can cause
//! many lines, by requests that fail, sandboxes that die or images that are refused; so each place in the source that
//! writes one has a bound, and what it held back is told with its next line.

use crate::config::LogFormat;
use anyhow::Context;
use std::collections::HashMap;
use std::fmt;
use std::io::IsTerminal;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Lines of one place in the source within [`WINDOW`]. Levels below `info` have no bound: somebody asked for them.
const LINES: u64 = 100;
/// See [`LINES`].
const WINDOW: Duration = Duration::from_secs(10);
/// The variable that says what is logged, whatever a configuration says.
const VARIABLE: &str = "BULKHEAD_LOG";
/// The filter of the log, to be changed while the process runs.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Logs what `directives` say, or the environment.
pub(crate) fn start(directives: &str, format: LogFormat) {
    let (filter, handle) = reload::Layer::new(filter(directives).unwrap_or_else(|_| EnvFilter::new("info")));
    let colours = std::io::stderr().is_terminal();
    let lines = lines(format, colours, std::io::stderr);
    tracing_subscriber::registry().with(filter).with(lines).init();
    // Nobody else sets it: this is called once.
    drop(FILTER.set(handle));
}

/// Changes what is logged.
pub(crate) fn change(directives: &str) -> anyhow::Result<()> {
    let Some(handle) = FILTER.get() else { return Ok(()) };
    handle.reload(filter(directives)?).context("change the log")
}

fn filter(directives: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_from_env(VARIABLE).or_else(|_| EnvFilter::try_new(directives)).context("log")
}

fn lines<S, W>(format: LogFormat, colours: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let bound = || Bound::new(LINES, WINDOW);
    let plain = tracing_subscriber::fmt::format().with_target(false);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    match format {
        LogFormat::Text => {
            layer.event_format(Bounded { inner: plain.with_ansi(colours), bound: bound(), format }).boxed()
        }
        LogFormat::Json => {
            let inner = plain.json().flatten_event(true).with_span_list(false);
            layer
                .fmt_fields(JsonFields::new())
                .event_format(Bounded { inner, bound: bound(), format })
                .boxed()
        }
    }
}

/// Lets so many lines of each place through in each window.
struct Bound {
    most: u64,
    window: Duration,
    places: Mutex<HashMap<Identifier, Place>>,
}

/// One place's window.
struct Place {
    since: Instant,
    lines: u64,
}

/// Whether a line may be written, and how many were not before it.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Write { held_back: u64 },
    HoldBack,
}

impl Bound {
    fn new(most: u64, window: Duration) -> Self {
        Self { most, window, places: Mutex::default() }
    }

    /// There are as many places as the program has.
    fn judge(&self, place: Identifier) -> Verdict {
        let now = Instant::now();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(place).or_insert(Place { since: now, lines: 0 });
        let mut held_back = 0;
        if now.duration_since(place.since) >= self.window {
            held_back = place.lines.saturating_sub(self.most);
            *place = Place { since: now, lines: 0 };
        }
        place.lines += 1;
        if place.lines > self.most { Verdict::HoldBack } else { Verdict::Write { held_back } }
    }
}

/// A form of lines, with their bound.
struct Bounded<F> {
    inner: F,
    bound: Bound,
    format: LogFormat,
}

impl<S, N, F> FormatEvent<S, N> for Bounded<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        if *metadata.level() <= Level::INFO {
            match self.bound.judge(metadata.callsite()) {
                Verdict::HoldBack => return Ok(()),
                Verdict::Write { held_back: 0 } => {}
                Verdict::Write { held_back } => tell(self.format, &mut writer, held_back)?,
            }
        }
        self.inner.format_event(context, writer, event)
    }
}

/// Says how many lines like the next one were not written.
fn tell(format: LogFormat, writer: &mut Writer<'_>, held_back: u64) -> fmt::Result {
    let mut time = String::new();
    SystemTime.format_time(&mut Writer::new(&mut time))?;
    const TEXT: &str = "lines like the next were held back";
    match format {
        LogFormat::Text => writeln!(writer, "{time}  WARN {TEXT} held_back={held_back}"),
        LogFormat::Json => writeln!(
            writer,
            r#"{{"timestamp":"{time}","level":"WARN","message":"{TEXT}","held_back":{held_back}}}"#
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Arc;

    /// What was written.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(format: LogFormat, work: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = lines(format, false, move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn flood() {
        for number in 0..10 * LINES {
            tracing::warn!(number, "a tenant did it");
        }
        tracing::info!("something else");
    }

    #[test]
    fn a_flood_of_one_line_is_cut_and_others_are_written() {
        let text = written(LogFormat::Text, flood);
        let count = text.matches("a tenant did it").count();
        // A window may have ended meanwhile.
        assert!((100..=200).contains(&count), "{count}");
        assert!(text.contains("INFO something else"));
    }

    #[test]
    fn json_is_one_object_for_each_line_with_the_span_it_belongs_to() {
        let text = written(LogFormat::Json, || {
            let _span = tracing::info_span!("request", id = "r1").entered();
            flood();
        });
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["span"]["id"], "r1", "{line}");
        }
        let mut told = String::new();
        tell(LogFormat::Json, &mut Writer::new(&mut told), 7).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&told).unwrap()["held_back"], 7);
    }

    #[test]
    fn the_next_window_tells_what_was_held_back() {
        let bound = Bound::new(2, Duration::from_millis(20));
        let place = tracing::callsite::Identifier(&Nowhere);
        let verdicts: Vec<_> = (0..5).map(|_| bound.judge(place.clone())).collect();
        assert_eq!(verdicts[1..3], [Verdict::Write { held_back: 0 }, Verdict::HoldBack]);
        std::thread::sleep(Duration::from_millis(25));
        assert_eq!(bound.judge(place), Verdict::Write { held_back: 3 });
    }

    /// A place that writes nothing.
    struct Nowhere;

    impl tracing::callsite::Callsite for Nowhere {
        fn set_interest(&self, _interest: tracing::subscriber::Interest) {}

        fn metadata(&self) -> &tracing::Metadata<'_> {
            unreachable!("nobody asks")
        }
    }
}
