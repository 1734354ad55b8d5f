//! Whose turn it is to have something done by the runtime, which has one thread: few at once, the organisations one after
//! the other, within one first come, first served. So whoever asks for two hundred sandboxes delays another
//! organisation's one by a launch or two.
//!
//! ```text
//!  turn ──a place is free──▶ Turn ──drop──▶ the next organisation's first
//!    └──none──▶ waits in its organisation's queue ──gives up──▶ skipped
//! ```

use crate::error::{ApiError, ApiResult};
use crate::limits;
use hyper::StatusCode;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The bounds of a queue.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    at_once: usize,
    of_one: usize,
    of_all: usize,
    words: Words,
}

/// What is said to who may not wait.
#[derive(Debug, Clone, Copy)]
struct Words {
    /// Behind the number of those that wait.
    of_one: &'static str,
    of_all: &'static str,
    /// Name of the first limit, for metrics.
    limit: &'static str,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    waiting: usize,
    queues: HashMap<String, VecDeque<oneshot::Sender<Turn>>>,
    /// Organisations with a queue, the next one first.
    order: VecDeque<String>,
}

/// A queue. Clones are the same queue.
#[derive(Debug, Clone)]
pub(crate) struct Fair {
    bounds: Bounds,
    state: Arc<Mutex<State>>,
}

/// The right to go on, until dropped.
#[derive(Debug)]
pub(crate) struct Turn(Option<Fair>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(fair) = self.0.take() {
            fair.next();
        }
    }
}

impl Fair {
    /// The queue of launches.
    pub(crate) fn launches() -> Self {
        let words = Words {
            of_one: "sandboxes of this organisation are waiting to be started",
            of_all: "too many sandboxes are waiting to be started",
            limit: "waiting launches",
        };
        let (of_one, of_all) = (limits::ORG_QUEUE, limits::QUEUE);
        Self::new(Bounds { at_once: limits::LAUNCHES, of_one, of_all, words })
    }

    /// The queue of looks at what a sandbox uses and at what is in force for it.
    pub(crate) fn looks() -> Self {
        let words = Words {
            of_one: "requests of this organisation are waiting to look at sandboxes",
            of_all: "too many requests are waiting to look at sandboxes",
            limit: "waiting looks",
        };
        let (of_one, of_all) = (limits::ORG_LOOKS, limits::LOOKS);
        Self::new(Bounds { at_once: limits::LOOKS_AT_ONCE, of_one, of_all, words })
    }

    fn new(bounds: Bounds) -> Self {
        Self { bounds, state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn of `org`. Who gives up waiting has none.
    pub(crate) async fn turn(&self, org: &str) -> ApiResult<Turn> {
        let turn = {
            let mut state = self.lock();
            if state.running < self.bounds.at_once {
                state.running += 1;
                return Ok(Turn(Some(self.clone())));
            }
            let length = self.queued(&state, org)?;
            let (tell, turn) = oneshot::channel();
            state.waiting += 1;
            if length == 0 {
                state.order.push_back(org.to_owned());
            }
            state.queues.entry(org.to_owned()).or_default().push_back(tell);
            turn
        };
        turn.await.map_err(ApiError::internal)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Whether another one of `org` may wait, by now.
    pub(crate) fn has_room(&self, org: &str) -> ApiResult<()> {
        self.queued(&self.lock(), org).map(drop)
    }

    /// How many of `org` wait, where another one may.
    fn queued(&self, state: &State, org: &str) -> ApiResult<usize> {
        let words = self.bounds.words;
        let length = state.queues.get(org).map_or(0, VecDeque::len);
        if length >= self.bounds.of_one {
            let text = format!("{length} {}", words.of_one);
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, text).of_limit(words.limit));
        }
        if state.waiting >= self.bounds.of_all {
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, words.of_all));
        }
        Ok(length)
    }

    /// Gives the place that became free to the next one who still waits.
    fn next(&self) {
        let mut state = self.lock();
        while let Some(org) = state.order.pop_front() {
            let Some(queue) = state.queues.get_mut(&org) else { continue };
            let first = queue.pop_front();
            if queue.is_empty() {
                state.queues.remove(&org);
            } else {
                state.order.push_back(org);
            }
            let Some(first) = first else { continue };
            state.waiting -= 1;
            match first.send(Turn(Some(self.clone()))) {
                Ok(()) => return,
                // It gave up. Its turn must not be dropped as one that ran: the lock is held.
                Err(mut turn) => drop(turn.0.take()),
            }
        }
        state.running -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    type Waiting<'a> = Pin<Box<dyn Future<Output = ApiResult<Turn>> + 'a>>;

    fn poll(waiting: &mut Waiting<'_>) -> Poll<ApiResult<Turn>> {
        waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    fn queued<'a>(fair: &'a Fair, org: &'a str) -> Waiting<'a> {
        let mut waiting: Waiting<'_> = Box::pin(fair.turn(org));
        assert!(poll(&mut waiting).is_pending());
        waiting
    }

    fn fair(at_once: usize) -> Fair {
        Fair::new(Bounds { at_once, of_one: 3, of_all: 5, ..Fair::looks().bounds })
    }

    async fn order(fair: &Fair, first: Turn, mut waiting: Vec<(&'static str, Waiting<'_>)>) -> String {
        let (mut order, mut turn) = (String::new(), first);
        while !waiting.is_empty() {
            drop(turn);
            let ready = waiting.iter_mut().enumerate().find_map(|(index, (_, one))| match poll(one) {
                Poll::Ready(turn) => Some((index, turn.unwrap())),
                Poll::Pending => None,
            });
            let (index, next) = ready.unwrap();
            order.push_str(waiting.remove(index).0);
            turn = next;
        }
        drop(turn);
        let state = fair.lock();
        assert_eq!((state.running, state.waiting, state.queues.len()), (0, 0, 0));
        drop(state);
        order
    }

    #[tokio::test]
    async fn organisations_take_turns() {
        let fair = fair(1);
        let first = fair.turn("a").await.unwrap();
        let waiting: Vec<_> =
            ["a", "a", "a", "b", "c"].into_iter().map(|org| (org, queued(&fair, org))).collect();
        assert_eq!(order(&fair, first, waiting).await, "abcaa");
    }

    #[tokio::test]
    async fn who_gives_up_is_skipped_and_loses_no_place() {
        let fair = fair(1);
        let first = fair.turn("a").await.unwrap();
        let gone = [queued(&fair, "a"), queued(&fair, "b")];
        let waiting = vec![("b", queued(&fair, "b"))];
        drop(gone);
        assert_eq!(order(&fair, first, waiting).await, "b");
        let _first = fair.turn("a").await.unwrap();
    }

    #[tokio::test]
    async fn both_bounds_hold() {
        let fair = fair(2);
        let _running = [fair.turn("a").await.unwrap(), fair.turn("a").await.unwrap()];
        let _waiting = [queued(&fair, "a"), queued(&fair, "a"), queued(&fair, "a")];
        let refused = fair.turn("a").await.unwrap_err();
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.message, "3 requests of this organisation are waiting to look at sandboxes");
        let _more = [queued(&fair, "b"), queued(&fair, "c")];
        assert_eq!(fair.turn("d").await.unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn as_many_as_may_run_at_once() {
        let fair = fair(3);
        let turns = [fair.turn("a").await.unwrap(), fair.turn("b").await.unwrap()];
        let third = fair.turn("a").await.unwrap();
        let mut fourth = queued(&fair, "a");
        drop(turns);
        assert!(poll(&mut fourth).is_ready());
        drop(third);
    }
}
