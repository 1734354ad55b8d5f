//! From a [`CreateRequest`] to an [`Order`]: the values are checked and the defaults are chosen, once.

use super::{env, labels, refuse};
use crate::api::{CreateRequest, LimitsRequest, Port as ApiPort};
use crate::auth::Principal;
use crate::error::{ApiError, ApiResult};
use crate::limits::{CPU, MAX_NAME, MAX_PORTS, MAX_REGION, MEM};
use crate::sandbox::{AutoSleep, MadeOf, Port, PortProtocol, Settings};
use crate::service::create::{Answer, Order};
use crate::store::Store;
use bulkhead_protocol::Limits;
use bulkhead_protocol::image::ImageName;
use bulkhead_protocol::limits::{DEFAULT_DISK_BYTES, DEFAULT_OPEN_FILES, DEFAULT_PIDS, MIB};
use hyper::StatusCode;
use std::collections::BTreeSet;

/// The image of who names none.
const DEFAULT_IMAGE: &str = "code";

pub(super) fn check(request: CreateRequest) -> ApiResult<Order> {
    check_name(&request.name)?;
    let image = request.image.unwrap_or_else(|| DEFAULT_IMAGE.to_owned());
    let image = ImageName::parse(&image).map_err(|error| refuse("image", error))?;
    let env = request.env_vars.unwrap_or_default();
    env::check("envVars", &env)?;
    let labels = request.labels.unwrap_or_default();
    labels::check(&labels)?;
    let region = request.region.filter(|region| !region.is_empty());
    if region.as_ref().is_some_and(|region| region.len() > MAX_REGION || region.contains('\0')) {
        return Err(refuse("region", format_args!("must have at most {MAX_REGION} bytes, without NUL")));
    }
    let settings = Settings {
        made_of: MadeOf::default(),
        limits: ceilings(request.cpu, request.mem, request.limits)?,
        env,
        labels,
        ports: ports(request.ports, request.publish_ports)?,
        region,
        auto_sleep: if request.auto_sleep == Some(true) { AutoSleep::On } else { AutoSleep::Off },
        idle_timeout_s: request.idle_timeout_seconds,
        ttl_s: request.ttl_seconds,
        expires: None,
    };
    let answer = if request.sync == Some(false) { Answer::AtOnce } else { Answer::WhenReady };
    Ok(Order { name: request.name, image, settings, answer })
}

/// Whether the key may make sandboxes for whom the request names. Empty is absent.
pub(super) async fn check_owner(
    store: &Store,
    principal: &Principal,
    request: &CreateRequest,
) -> ApiResult<()> {
    let forbidden = |text: &'static str| Err(ApiError::new(StatusCode::FORBIDDEN, text));
    let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if named(&request.org_id).is_some_and(|org| org != principal.org) {
        return forbidden("orgId: is not the organisation of this key");
    }
    let Some(user) = named(&request.user_id) else { return Ok(()) };
    if user == principal.user || store.is_member(principal.org.clone(), user).await? {
        return Ok(());
    }
    forbidden("userId: is not a user of this organisation")
}

fn check_name(name: &str) -> ApiResult<()> {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(alphanumeric)
            && bytes.last().is_some_and(alphanumeric)
            && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
    };
    if name.len() > MAX_NAME || !name.split('.').all(label) {
        let rule = "must be a DNS name of at most 253 characters of a-z, 0-9, - and .";
        return Err(refuse("name", rule));
    }
    Ok(())
}

fn ports(ports: Option<Vec<ApiPort>>, numbers: Option<Vec<u16>>) -> ApiResult<Vec<Port>> {
    let (field, all) = match (ports, &numbers) {
        (Some(ports), numbers) => {
            let here: BTreeSet<u16> = ports.iter().map(|port| port.port).collect();
            if numbers.as_ref().is_some_and(|there| there.iter().copied().collect::<BTreeSet<_>>() != here) {
                return Err(refuse("ports", "disagrees with publishPorts"));
            }
            ("ports", ports.iter().map(|port| Port { protocol: port.protocol, number: port.port }).collect())
        }
        (None, Some(numbers)) => {
            let http = |number: &u16| Port { protocol: PortProtocol::Http, number: *number };
            ("publishPorts", numbers.iter().map(http).collect::<Vec<_>>())
        }
        (None, None) => return Ok(Vec::new()),
    };
    if all.len() > MAX_PORTS {
        return Err(refuse(field, format_args!("has more than {MAX_PORTS} ports")));
    }
    if all.iter().map(|port| port.number).collect::<BTreeSet<_>>().len() != all.len() {
        return Err(refuse(field, "a port appears twice"));
    }
    Ok(all)
}

fn ceilings(cpu: Option<u64>, mem: Option<u64>, request: Option<LimitsRequest>) -> ApiResult<Limits> {
    let request = request.unwrap_or_default();
    let cpus = u32::try_from(cpu.unwrap_or(*CPU.start())).map_err(|_| refuse("cpu", "is too large"))?;
    let limits = Limits {
        memory_bytes: request.memory_mib.unwrap_or_else(|| mem.unwrap_or(*MEM.start())) * MIB,
        cpu_millis: request.cpus.map_or(cpus * 1000, millis),
        pids: request.pids.unwrap_or(DEFAULT_PIDS),
        open_files: request.open_files.unwrap_or(DEFAULT_OPEN_FILES),
        disk_bytes: request.disk_mib.map_or(DEFAULT_DISK_BYTES, |mib| mib * MIB),
    };
    // Every part was checked where it was read; this holds the two crates together.
    limits.check().map_err(|out| refuse("limits", format_args!("{} is out of bounds", out.field)))?;
    Ok(limits)
}

/// Thousandths of a number that `parse` has bounded to 0.05 to 1024.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded where it was read")]
fn millis(cpus: f64) -> u32 {
    (cpus * 1000.0).round() as u32
}

#[cfg(test)]
mod tests;
