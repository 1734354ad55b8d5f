//! Places at which a test lets this process die. Without the feature `failpoints` there are none.

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("the feature `failpoints` is for tests: it is built with the dev profile only");

/// Dies here if a test asks for it: `failpoint!(LaunchRecorded)`.
macro_rules! failpoint {
    ($point:ident) => {
        #[cfg(feature = "failpoints")]
        bulkhead_failpoint::reach(bulkhead_failpoint::Runtime::$point);
    };
}
pub(crate) use failpoint;
