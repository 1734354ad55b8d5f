//! What can be counted, in one place. Labels come from closed sets of ours, never from a client or a sandbox.

mod runtime;

use bulkhead_protocol::stats::Counters;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicI64;
use std::time::Duration;

/// A route's template and the status of its answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Answer {
    pub(crate) method: &'static str,
    pub(crate) route: &'static str,
    pub(crate) status: u16,
}

/// A route's template.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Route {
    pub(crate) route: &'static str,
}

/// A step of a create or a wake.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Step {
    pub(crate) step: &'static str,
}

/// A bound that a client ran into.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Limit {
    pub(crate) limit: &'static str,
}

/// A word of a closed set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Kind {
    pub(crate) kind: &'static str,
}

/// A public status of sandboxes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Status {
    pub(crate) status: &'static str,
}

type Latency = Family<Route, Histogram, fn() -> Histogram>;
type Steps = Family<Step, Histogram, fn() -> Histogram>;

/// Every metric of the process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answer, Counter>,
    latency: Latency,
    launch_steps: Steps,
    limits_hit: Family<Limit, Counter>,
    imports: Family<Kind, Counter>,
    creates: Family<Kind, Counter>,
    pool_ready: Gauge,
    pool_wanted: Gauge,
    queue: Gauge,
    sandboxes: Family<Status, Gauge>,
    pub(crate) executions_started: Counter,
    executions_ended: Family<Kind, Counter>,
    agent_faults: Family<Kind, Counter>,
    connections: Gauge,
    sockets: Gauge,
    streams: Gauge,
    pub(crate) connections_refused: Counter,
    pub(crate) handshakes_failed: Counter,
    certificate_ends: Gauge,
    pub(crate) leaks: Gauge,
    pub(crate) audit_lines: Counter,
    pub(crate) audit_dropped: Counter,
}

/// How a text ends (OpenMetrics).
const END: &str = "# EOF\n";

fn latency() -> Histogram {
    // 100 µs to 100 s.
    Histogram::new(exponential_buckets(0.0001, 2.0, 21))
}

/// What a scrape looks up.
#[derive(Debug, Default)]
pub(crate) struct Now {
    pub(crate) pool_ready: i64,
    pub(crate) pool_wanted: i64,
    pub(crate) queue: i64,
    /// Seconds since 1970; 0 without a certificate.
    pub(crate) certificate_ends: i64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("bulkhead_gateway"),
            requests: Family::default(),
            latency: Family::new_with_constructor(latency),
            launch_steps: Family::new_with_constructor(latency),
            limits_hit: Family::default(),
            imports: Family::default(),
            creates: Family::default(),
            pool_ready: Gauge::default(),
            pool_wanted: Gauge::default(),
            queue: Gauge::default(),
            sandboxes: Family::default(),
            executions_started: Counter::default(),
            executions_ended: Family::default(),
            agent_faults: Family::default(),
            connections: Gauge::default(),
            sockets: Gauge::default(),
            streams: Gauge::default(),
            connections_refused: Counter::default(),
            handshakes_failed: Counter::default(),
            certificate_ends: Gauge::default(),
            leaks: Gauge::default(),
            audit_lines: Counter::default(),
            audit_dropped: Counter::default(),
        };
        metrics.register();
        metrics.register_launches();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("requests", "Answers by route and status", self.requests.clone());
        r.register("request_seconds", "Time to the head of an answer", self.latency.clone());
        r.register("sandboxes", "Sandboxes by public status", self.sandboxes.clone());
        r.register("executions_started", "Executions asked for", self.executions_started.clone());
        r.register("executions_ended", "Executions by their end", self.executions_ended.clone());
        r.register("agent_faults", "Agents that were late or broke the protocol", self.agent_faults.clone());
        r.register("sockets", "Open WebSockets of clients", self.sockets.clone());
        r.register("connections", "Open connections of clients", self.connections.clone());
        r.register("streams", "Open streams of output", self.streams.clone());
        r.register("connections_refused", "Connections beyond a limit", self.connections_refused.clone());
        r.register(
            "handshakes_failed",
            "TLS handshakes that did not succeed",
            self.handshakes_failed.clone(),
        );
        let (help, ends) =
            ("When the certificate of the API ends, since 1970; 0 without one", &self.certificate_ends);
        r.register_with_unit("certificate_ends", help, Unit::Seconds, ends.clone());
        r.register("leaks", "Sandboxes that only the runtime knows", self.leaks.clone());
        r.register("audit_lines", "Lines of the audit log", self.audit_lines.clone());
        r.register("audit_dropped", "Lines that the audit log had no room for", self.audit_dropped.clone());
    }

    fn register_launches(&mut self) {
        let r = &mut self.registry;
        r.register("launch_step_seconds", "Time of the steps of launches", self.launch_steps.clone());
        r.register(
            "limits_hit",
            "Requests refused by a quota or a limit, or for want of something",
            self.limits_hit.clone(),
        );
        r.register("imports", "Images imported for organisations, by their end", self.imports.clone());
        r.register("creates", "Sandboxes made, by where they came from", self.creates.clone());
        r.register("pool_ready", "Sandboxes made ahead that wait", self.pool_ready.clone());
        r.register("pool_wanted", "Sandboxes made ahead that there should be", self.pool_wanted.clone());
        r.register("launch_queue", "Launches that wait for their turn", self.queue.clone());
    }

    /// A step of a launch, or of what is done for one, took so long.
    pub(crate) fn launch_step(&self, step: &'static str, time: Duration) {
        self.launch_steps.get_or_create(&Step { step }).observe(time.as_secs_f64());
    }

    /// A request was refused by this limit.
    pub(crate) fn limit_hit(&self, limit: &'static str) {
        self.limits_hit.get_or_create(&Limit { limit }).inc();
    }

    /// An import of an organisation's image is over.
    pub(crate) fn imported(&self, kind: &'static str) {
        self.imports.get_or_create(&Kind { kind }).inc();
    }

    /// A sandbox was made.
    pub(crate) fn created(&self, kind: &'static str) {
        self.creates.get_or_create(&Kind { kind }).inc();
    }

    /// What is there at the moment of a look.
    pub(crate) fn look(&self, now: &Now) {
        self.pool_ready.set(now.pool_ready);
        self.pool_wanted.set(now.pool_wanted);
        self.queue.set(now.queue);
        self.certificate_ends.set(now.certificate_ends);
    }

    pub(crate) fn answered(&self, answer: Answer, time: Duration) {
        self.latency.get_or_create(&Route { route: answer.route }).observe(time.as_secs_f64());
        self.requests.get_or_create(&answer).inc();
    }

    pub(crate) fn execution_ended(&self, kind: &'static str) {
        self.executions_ended.get_or_create(&Kind { kind }).inc();
    }

    pub(crate) fn agent_fault(&self, kind: &'static str) {
        self.agent_faults.get_or_create(&Kind { kind }).inc();
    }

    /// Counts a connection for as long as the guard lives.
    pub(crate) fn connection(&self) -> Open {
        self.connections.inc();
        Open(self.connections.clone())
    }

    /// Counts a stream of output for as long as the guard lives.
    pub(crate) fn stream(&self) -> Open {
        self.streams.inc();
        Open(self.streams.clone())
    }

    /// Counts a WebSocket for as long as the guard lives.
    pub(crate) fn socket(&self) -> Open {
        self.sockets.inc();
        Open(self.sockets.clone())
    }

    /// OpenMetrics text; `statuses` is how many sandboxes have which public status.
    /// what the runtime counts comes last, where it answered.
    pub(crate) fn text(
        &self,
        statuses: &[(&'static str, i64)],
        runtime: Option<&Counters>,
    ) -> Result<String, std::fmt::Error> {
        for (status, count) in statuses {
            self.sandboxes.get_or_create(&Status { status }).set(*count);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        if let Some(counters) = runtime {
            // The end of the text stands behind everything.
            text.truncate(text.trim_end_matches(END).len());
            runtime::write(&mut text, counters)?;
            text.push_str(END);
        }
        Ok(text)
    }
}

/// One thing that is open.
#[derive(Debug)]
pub(crate) struct Open(Gauge<i64, AtomicI64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_documented() {
        let metrics = Metrics::new();
        metrics.answered(Answer { method: "GET", route: "/healthz", status: 200 }, Duration::ZERO);
        metrics.launch_step("hello", Duration::ZERO);
        let counts: [fn(&Metrics, &'static str); 5] = [
            Metrics::limit_hit,
            Metrics::imported,
            Metrics::created,
            Metrics::execution_ended,
            Metrics::agent_fault,
        ];
        counts.iter().for_each(|count| count(&metrics, "x"));
        let text = metrics.text(&[("running", 1)], Some(&Counters::default())).unwrap();
        let list = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../METRICS.md")).unwrap();
        let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        assert!(names.len() > 25, "{text}");
        for name in names {
            let (name, kind) = name.split_once(' ').unwrap();
            let row = format!("| `{name}` | {kind} |");
            assert!(list.contains(&row), "METRICS.md has no {row}");
        }
        assert!(text.ends_with(END) && text.matches(END).count() == 1);
    }

    #[test]
    fn the_text_has_every_metric() {
        let metrics = Metrics::new();
        metrics.answered(Answer { method: "GET", route: "/healthz", status: 200 }, Duration::from_millis(1));
        metrics.execution_ended("exited");
        metrics.agent_fault("late");
        let _open = metrics.connection();
        let text = metrics.text(&[("running", 3)], None).unwrap();
        for line in [
            r#"bulkhead_gateway_requests_total{method="GET",route="/healthz",status="200"} 1"#,
            r#"bulkhead_gateway_sandboxes{status="running"} 3"#,
            "bulkhead_gateway_connections 1",
            r#"bulkhead_gateway_agent_faults_total{kind="late"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
