//! From the members of a body to a [`CreateRequest`]: types are checked here, values in `order`.

use crate::api::{CreateRequest, LimitsRequest, Port};
use crate::error::{ApiError, ApiResult};
use crate::input::{Fields, Switch};
use crate::limits;
use crate::sandbox::PortProtocol;
use bulkhead_protocol::limits::{
    MAX_CPU_MILLIS, MAX_DISK_BYTES, MAX_MEMORY_BYTES, MAX_OPEN_FILES, MAX_PIDS, MIB, MIN_CPU_MILLIS,
    MIN_DISK_BYTES, MIN_MEMORY_BYTES, MIN_OPEN_FILES, MIN_PIDS,
};
use serde_json::Value;

pub(super) fn create(mut fields: Fields) -> ApiResult<CreateRequest> {
    Ok(CreateRequest {
        name: fields.text("name")?.ok_or_else(|| fields.refuse("name", "is required"))?,
        image: fields.text("image")?,
        cpu: fields.whole("cpu", &limits::CPU)?,
        mem: fields.whole("mem", &limits::MEM)?,
        org_id: fields.text("orgId")?,
        user_id: fields.text("userId")?,
        sync: Some(fields.switch("sync", Switch::On)? == Switch::On),
        env_vars: fields.texts("envVars")?,
        auto_sleep: Some(fields.switch("autoSleep", Switch::Off)? == Switch::On),
        idle_timeout_seconds: seconds(&mut fields, "idleTimeoutSeconds", &limits::IDLE_TIMEOUT)?,
        ttl_seconds: seconds(&mut fields, "ttlSeconds", &limits::TTL)?,
        region: fields.text("region")?,
        labels: fields.texts("labels")?,
        publish_ports: fields.list("publishPorts")?.map(numbers).transpose()?,
        ports: fields.list("ports")?.map(ports).transpose()?,
        limits: fields.object("limits")?.map(ceilings).transpose()?,
    })
}

fn seconds(
    fields: &mut Fields,
    name: &str,
    bounds: &std::ops::RangeInclusive<u64>,
) -> ApiResult<Option<u32>> {
    Ok(fields.whole(name, bounds)?.and_then(|seconds| u32::try_from(seconds).ok()))
}

fn numbers(items: Vec<Value>) -> ApiResult<Vec<u16>> {
    items.iter().map(|item| port(item).ok_or_else(|| bad_port("publishPorts"))).collect()
}

fn ports(items: Vec<Value>) -> ApiResult<Vec<Port>> {
    items.into_iter().map(one_port).collect()
}

fn one_port(item: Value) -> ApiResult<Port> {
    let Value::Object(members) = item else {
        return Err(ApiError::field("ports", "every item must be an object"));
    };
    let protocol = match members.get("protocol").unwrap_or(&Value::Null) {
        Value::Null => PortProtocol::Http,
        Value::String(word) if word == "http" => PortProtocol::Http,
        Value::String(word) if word == "tcp" => PortProtocol::Tcp,
        _ => return Err(ApiError::field("ports", "a protocol must be http or tcp")),
    };
    let port = members.get("port").and_then(port).ok_or_else(|| bad_port("ports"))?;
    Ok(Port { protocol, port })
}

fn port(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0)
}

fn bad_port(field: &str) -> ApiError {
    ApiError::field(field, "every port must be an integer from 1 to 65535")
}

fn ceilings(mut fields: Fields) -> ApiResult<LimitsRequest> {
    let small = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
    let memory = MIN_MEMORY_BYTES / MIB..=MAX_MEMORY_BYTES / MIB;
    let request = LimitsRequest {
        memory_mib: fields.whole("memoryMiB", &memory)?,
        cpus: cpus(&mut fields)?,
        pids: small(fields.whole("pids", &(u64::from(MIN_PIDS)..=u64::from(MAX_PIDS)))?),
        open_files: small(
            fields.whole("openFiles", &(u64::from(MIN_OPEN_FILES)..=u64::from(MAX_OPEN_FILES)))?,
        ),
        disk_mib: fields.whole("diskMiB", &(MIN_DISK_BYTES / MIB..=MAX_DISK_BYTES / MIB))?,
    };
    // A limit with a typing error must not be no limit.
    match fields.left() {
        Some(name) => Err(ApiError::field(name, "is not a limit")),
        None => Ok(request),
    }
}

fn cpus(fields: &mut Fields) -> ApiResult<Option<f64>> {
    let Some(value) = fields.take("cpus") else { return Ok(None) };
    let (least, most) = (f64::from(MIN_CPU_MILLIS) / 1000.0, f64::from(MAX_CPU_MILLIS) / 1000.0);
    match value.as_f64().filter(|number| (least..=most).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(fields.refuse("cpus", format_args!("must be a number from {least} to {most}"))),
    }
}
