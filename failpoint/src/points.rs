//! The lists of points.

use crate::Point;

/// An enum of points with a list of them all.
macro_rules! points {
    ($(#[$about:meta])* $half:ident $prefix:literal { $($(#[$doc:meta])* $point:ident,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $half { $($(#[$doc])* $point,)* }

        impl $half {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$point,)*];
        }

        impl Point for $half {
            fn name(self) -> &'static str {
                match self { $(Self::$point => concat!($prefix, ".", stringify!($point)),)* }
            }
        }
    };
}

points! {
    /// Of the runtime: each lies right behind the step that it is named after.
    Runtime "runtime" {
        /// The record of a launch is written.
        LaunchRecorded,
        /// The agent's socket listens.
        LaunchSocket,
        /// The groups exist, limits in force.
        LaunchGroups,
        /// The disk and the root exist.
        LaunchRoot,
        /// The first process exists and waits.
        LaunchCloned,
        /// Its id maps stand and it goes on.
        LaunchMapped,
        /// The agent was executed, nothing says so yet.
        LaunchExecuted,
        /// The record says that it runs, nobody was told.
        LaunchRunning,
        /// The record says that it ends and how.
        EndRecorded,
        /// Everything was told to die.
        EndKilled,
        /// The proof that nothing lives.
        EndEmpty,
        /// The disk has met its fate.
        EndDisk,
        /// The agent's socket is gone.
        EndSocket,
        /// Who waited was told.
        EndTold,
        /// The groups are gone.
        EndGroups,
        /// The record is gone.
        EndForgotten,
        /// A freeze or thaw was asked for.
        TurnAsked,
        /// It is so, nobody was told.
        TurnDone,
        /// A host name was set.
        Named,
    }
}

points! {
    /// Of the gateway.
    Gateway "gateway" {
        /// The row of a new sandbox is written.
        CreateRow,
    }
}
