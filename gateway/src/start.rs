//! From a configuration to a serving gateway, and back to nothing. The order is the one of the design:
//! runtime, store, comparison of both, first key, listeners.

mod first;
pub(crate) mod manager;

use crate::admin;
use crate::agent_client::{AgentClient, Budget};
use crate::app::App;
use crate::audit::Audit;
use crate::auth::{self, Keys};
use crate::clock::Clock;
use crate::config::{Changeable, Config, Operator};
use crate::dirs::Directory;
use crate::disk::{self, Disk};
use crate::error::Error;
use crate::fair::Fair;
use crate::ids;
use crate::input::BodyBudget;
use crate::limits;
use crate::metrics::{Metrics, Now};
use crate::news::News;
use crate::pipeline::{self, Flights, Numbers};
use crate::quota::{Accounts, Quota};
use crate::reconcile;
use crate::registry::Registry;
use crate::reload;
use crate::reply::{self, Reply, ReplyBody};
use crate::routes::system::Pulse;
use crate::routes::tenants::register::Desk;
use crate::runtime_client::{Notice, RuntimeClient};
use crate::server::{Connections, Handler, Phase};
use crate::service::files::watch::Watches;
use crate::service::images::Archives;
use crate::service::pool::{self, Pool};
use crate::service::session::Turns;
use crate::service::sweep;
use crate::store::Store;
use crate::tls::Certificates;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, StatusCode};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc::UnboundedReceiver, watch};
use tokio::time::Instant;

/// Threads that serve: exec waits for agents, not for us.
const WORKERS: usize = 2;
/// What is still running when everything is closed gets so long.
const LAST: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT. The caller has given up its privileges and has one thread.
///
/// # Errors
/// [`Error`] where the gateway could not start.
pub fn run(config: Config) -> Result<(), Error> {
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("gateway")
        .enable_all()
        .build()
        .map_err(|source| Error::Start { what: "the threads", source })?;
    let outcome = runtime.block_on(until_signal(config));
    runtime.shutdown_timeout(LAST);
    outcome
}

/// Every connection takes a descriptor, and every exec another one.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files was not raised");
    }
}

async fn until_signal(config: Config) -> Result<(), Error> {
    let catch = |kind| signal(kind).map_err(|source| Error::Start { what: "the signal handlers", source });
    let (mut term, mut int) = (catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?);
    let hangup = catch(SignalKind::hangup())?;
    let (close, closing) = watch::channel(Phase::Serving);
    let connections = Arc::new(Connections::new(closing.clone(), Arc::default()));
    let mut serving = tokio::spawn(serve(config, Arc::clone(&connections), closing, hangup));
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        end = &mut serving => {
            return end.unwrap_or_else(|error| Err(Error::Start { what: "serving", source: error.into() }));
        }
    }
    manager::stopping();
    tracing::info!("closing: requests under way get {} s", limits::DRAIN.as_secs());
    close.send_replace(Phase::Closing);
    if tokio::time::timeout(limits::DRAIN, connections.drained()).await.is_err() {
        tracing::warn!("requests were cut");
    }
    // It ends by itself once the pool is drained.
    if tokio::time::timeout(limits::POOL_DRAIN + LAST, &mut serving).await.is_err() {
        serving.abort();
    }
    Ok(())
}

async fn serve(
    config: Config,
    connections: Arc<Connections>,
    closing: watch::Receiver<Phase>,
    hangup: Signal,
) -> Result<(), Error> {
    let Config { listen, metrics_listen, state_dir, run_dir, changeable, operator } = config;
    let admin_dir = run_dir.join("gateway");
    let settled = Settled { state_dir, run_dir, changeable, operator };
    let app = build(settled, connections.certificates()).await?;
    let address = listen.address();
    let listener = listen.listen()?;
    let admin = admin::bind(&admin_dir)?;
    let accept_admin = admin::accept(Arc::clone(&app), admin, closing.clone());
    let numbers = Arc::new(Numbers::new(ids::random()?));
    let api = Api { app: Arc::clone(&app), numbers };
    let accept_api = connections.accept(listener, &app.metrics, api);
    let scraped = Connections::new(closing, Arc::default());
    let accept_metrics = async {
        let Some(endpoint) = metrics_listen else { return Ok(()) };
        scraped.accept(endpoint.listen()?, &app.metrics, Scrape { app: Arc::clone(&app) }).await;
        Ok::<_, Error>(())
    };
    tracing::info!(%address, "serving");
    let beat = tokio::spawn(manager::alive(Arc::clone(&app)));
    let hangups = tokio::spawn(reload::on_hangup(Arc::clone(&app), hangup));
    manager::ready();
    let ((), (), metrics) = tokio::join!(accept_admin, accept_api, accept_metrics);
    beat.abort();
    hangups.abort();
    pool::drain(&app).await;
    app.audit.settled().await;
    metrics
}

/// A configuration without its listeners.
#[derive(Debug)]
struct Settled {
    state_dir: PathBuf,
    run_dir: PathBuf,
    changeable: Changeable,
    operator: Box<dyn Operator>,
}

/// Everything but the listeners.
async fn build(config: Settled, certificates: Arc<Certificates>) -> Result<Arc<App>, Error> {
    let run_dir = open_patiently(&config.run_dir).await?;
    let (runtime, mut notices) = RuntimeClient::start(Arc::new(run_dir));
    first_connection(&config, &mut notices).await?;
    certificates.set(reload::first_certificate(&runtime, &config.changeable.tls).await?);
    let store = Store::open(&config.state_dir.join("gateway").join("bulkhead.db"))?;
    let node = store.setting("node", ids::node()?.into_bytes()).await?;
    let pepper = store.setting("pepper", ids::random::<32>()?.to_vec()).await?;
    let app = Arc::new(App {
        node: String::from_utf8(node).map_err(|_| Error::Node)?,
        disk: Disk::of(config.state_dir.join("gateway")),
        keys: Keys::new(pepper, store.keys().await?),
        registry: Registry::default(),
        clock: Clock::new(),
        pool: Pool::new(config.changeable.pool),
        patches: tokio::sync::Mutex::default(),
        runtime,
        agents: AgentClient::new(Directory::open(&config.run_dir.join("gateway").join("agents"))?),
        output: Budget::default(),
        bodies: BodyBudget::default(),
        metrics: Metrics::new(),
        news: News::default(),
        pulse: Pulse::default(),
        turns: Turns::default(),
        watches: Watches::default(),
        archives: Archives::new(config.state_dir.join("gateway")),
        accounts: accounts(config.changeable.quota, &store).await?,
        fair: Fair::launches(),
        looks: Fair::looks(),
        flights: Flights::default(),
        audit: Audit::open(&config.state_dir.join("gateway"))?,
        certificates,
        settings: watch::Sender::new(config.changeable),
        operator: config.operator,
        desk: Desk::default(),
        store,
    });
    tokio::spawn(auth::note(Arc::clone(&app)));
    tokio::spawn(disk::watch(Arc::clone(&app)));
    tokio::spawn(pipeline::sweep(Arc::clone(&app)));
    pool::clear(&app).await;
    reconcile::load(&app, app.store.sandboxes().await?).await;
    let compared = tokio::time::timeout(limits::START_PATIENCE, reconcile::insist(Arc::clone(&app)));
    if compared.await.is_err() {
        tracing::warn!("serving before the runtime's list was read");
        tokio::spawn(reconcile::insist(Arc::clone(&app)));
    }
    tokio::spawn(reconcile::watch(Arc::clone(&app), notices));
    tokio::spawn(sweep::sweep(Arc::clone(&app)));
    tokio::spawn(pool::refill(Arc::clone(&app)));
    first::key(&app, &config.state_dir.join("api-key")).await?;
    Ok(app)
}

/// What organisations may have.
async fn accounts(usual: Quota, store: &Store) -> Result<Accounts, Error> {
    let orgs = store.orgs().await?.into_iter();
    Ok(Accounts::new(usual, orgs.map(|org| (org.id, org.quota))))
}

async fn open_patiently(path: &Path) -> Result<Directory, Error> {
    let end = Instant::now() + limits::START_PATIENCE;
    loop {
        match Directory::open(path) {
            Err(_) if Instant::now() < end => tokio::time::sleep(limits::START_PAUSE).await,
            outcome => return outcome,
        }
    }
}

/// The runtime has made our directories when it answers.
async fn first_connection(config: &Settled, notices: &mut UnboundedReceiver<Notice>) -> Result<(), Error> {
    let first = tokio::time::timeout(limits::START_PATIENCE, notices.recv()).await;
    match first {
        Ok(Some(Notice::Connected | Notice::Died { .. })) => Ok(()),
        Ok(None) | Err(_) => Err(Error::NoRuntime { path: config.run_dir.join("runtime.sock") }),
    }
}

/// The API.
#[derive(Debug, Clone)]
struct Api {
    app: Arc<App>,
    numbers: Arc<Numbers>,
}

impl Handler for Api {
    async fn handle(&self, request: Request<Incoming>) -> Reply {
        pipeline::handle(Arc::clone(&self.app), Arc::clone(&self.numbers), request).await
    }
}

/// The metrics, whatever is asked for.
#[derive(Debug, Clone)]
struct Scrape {
    app: Arc<App>,
}

impl Handler for Scrape {
    async fn handle(&self, _request: Request<Incoming>) -> Reply {
        let words = ["running", "snapshotted", "error", "killed", "deleted"];
        let mut counts = words.map(|word| (word, 0));
        for sandbox in self.app.registry.all() {
            let word = crate::api::status(sandbox.state()).word();
            for (_, count) in counts.iter_mut().filter(|(other, _)| *other == word) {
                *count += 1;
            }
        }
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let (ready, wanted) = self.app.pool.fill();
        self.app.metrics.look(&Now {
            pool_ready: count(ready),
            pool_wanted: count(wanted),
            queue: count(self.app.fair.waiting()),
            certificate_ends: self.app.certificates.current().map_or(0, |certificate| certificate.ends),
        });
        // Without a runtime there is still the rest.
        let runtime = tokio::time::timeout(limits::SCRAPE, self.app.runtime.counters()).await;
        let runtime = runtime.ok().and_then(Result::ok);
        let text = self.app.metrics.text(&counts, runtime.as_ref()).unwrap_or_default();
        let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        reply::with(StatusCode::OK, kind, ReplyBody::Whole(Bytes::from(text)))
    }
}
