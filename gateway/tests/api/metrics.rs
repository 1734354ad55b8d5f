//! What the metrics say after things have happened.

use crate::keys::tenant;
use crate::world::World;
use bulkhead_gateway::admin::{Ceiling, QuotaChange, client as admin};
use serde_json::json;

#[test]
fn what_has_happened_is_counted() {
    let world = World::with_pool(1);
    let client = tenant(&world, "acme", &[]);
    let id = client.post("/api/sandboxes", &json!({"name": "x", "image": "other"})).json["data"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for command in ["hello", "hello"] {
        let answer = client.post(&format!("/api/sandboxes/{id}/exec"), &json!({"command": command}));
        assert_eq!(answer.status, 200);
    }
    assert_eq!(client.get("/api/sandboxes/nobody").status, 404);
    let less = QuotaChange { streams: Some(Ceiling::Most(0)), ..QuotaChange::default() };
    admin::quota(&world.run_dir(), "acme", less).unwrap();
    assert_eq!(
        client.post(&format!("/api/sandboxes/{id}/exec-stream"), &json!({"command": "hello"})).status,
        429
    );
    let text = world.scrape();
    for line in [
        r#"bulkhead_gateway_requests_total{method="POST",route="/sandboxes/{id}/exec",status="200"} 2"#,
        r#"bulkhead_gateway_requests_total{method="GET",route="/sandboxes/{id}",status="404"} 1"#,
        r#"bulkhead_gateway_request_seconds_count{route="/sandboxes/{id}/exec"} 2"#,
        r#"bulkhead_gateway_executions_ended_total{kind="exited"} 2"#,
        "bulkhead_gateway_executions_started_total 2",
        r#"bulkhead_gateway_limits_hit_total{limit="streams"} 1"#,
        r#"bulkhead_gateway_creates_total{kind="new"} 1"#,
        r#"bulkhead_gateway_launch_step_seconds_count{step="runtime"} 1"#,
        r#"bulkhead_gateway_launch_step_seconds_count{step="hello"} 1"#,
        r#"bulkhead_gateway_sandboxes{status="running"} 1"#,
        "bulkhead_gateway_pool_wanted 1",
        "bulkhead_gateway_launch_queue 0",
        "bulkhead_gateway_streams 0",
        "bulkhead_runtime_launches_total ",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(!text.contains(&id) && !text.contains("acme"), "labels are of closed sets");
    // It is of use without a runtime as well.
    world.runtime.refuse(Some("counters"));
    let text = world.scrape();
    assert!(
        text.contains("bulkhead_gateway_executions_started_total 2") && !text.contains("bulkhead_runtime")
    );
}
