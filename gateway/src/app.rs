//! Everything that requests share. Built once, at start; must never hold anything of a single request.

use crate::agent_client::{AgentClient, Budget};
use crate::audit::Audit;
use crate::auth::Keys;
use crate::clock::Clock;
use crate::config::{Changeable, Operator};
use crate::disk::Disk;
use crate::fair::Fair;
use crate::input::BodyBudget;
use crate::metrics::Metrics;
use crate::news::News;
use crate::pipeline::Flights;
use crate::quota::Accounts;
use crate::registry::Registry;
use crate::routes::system::Pulse;
use crate::routes::tenants::register::Desk;
use crate::runtime_client::RuntimeClient;
use crate::service::files::watch::Watches;
use crate::service::images::Archives;
use crate::service::pool::Pool;
use crate::service::session::Turns;
use crate::store::Store;
use crate::tls::Certificates;
use std::sync::Arc;
use tokio::sync::watch;

/// The parts of a running gateway.
#[derive(Debug)]
pub(crate) struct App {
    /// The first characters of every sandbox id.
    pub(crate) node: String,
    pub(crate) store: Store,
    pub(crate) disk: Disk,
    pub(crate) keys: Keys,
    pub(crate) registry: Registry,
    pub(crate) clock: Clock,
    pub(crate) pool: Pool,
    /// Held while a tenant changes a sandbox.
    pub(crate) patches: tokio::sync::Mutex<()>,
    pub(crate) runtime: RuntimeClient,
    pub(crate) agents: AgentClient,
    pub(crate) output: Budget,
    pub(crate) bodies: BodyBudget,
    pub(crate) metrics: Metrics,
    pub(crate) news: News,
    pub(crate) pulse: Pulse,
    pub(crate) turns: Turns,
    pub(crate) watches: Watches,
    pub(crate) archives: Archives,
    pub(crate) accounts: Accounts,
    /// Turns to launch.
    pub(crate) fair: Fair,
    /// Turns to look at sandboxes.
    pub(crate) looks: Fair,
    pub(crate) flights: Flights,
    pub(crate) audit: Audit,
    pub(crate) certificates: Arc<Certificates>,
    /// The settings in force that can change.
    pub(crate) settings: watch::Sender<Changeable>,
    pub(crate) operator: Box<dyn Operator>,
    pub(crate) desk: Desk,
}
