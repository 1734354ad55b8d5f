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
        /// The runtime has the id of the sandbox, and may not signal its own helpers.
        LaunchAway,
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
        /// A create failed: its row goes and its key is free, nothing was ended.
        CreateWithdrawn,
        /// The agent of a new or woken sandbox answers, no row says so.
        LaunchAnswered,
        /// The row says that it runs, nobody was told.
        LaunchRow,
        /// The row says that its processes are being ended.
        SleepRow,
        /// They are, no row says so.
        SleepStopped,
        /// The row says so, nobody was told.
        SleepDone,
        /// The row has the number of the launch that wakes it.
        WakeRow,
        /// The runtime says that it stands still.
        FreezeDone,
        /// The runtime says that it goes on.
        ThawDone,
        /// The row says that it goes.
        DeleteRow,
        /// The runtime says that nothing is left, the row is still there.
        DeleteGone,
        /// The row of one that is made ahead is written.
        SpareRow,
        /// One made ahead has the name of who takes it, and no owner.
        SpareNamed,
        /// The row says whose it is, nobody was told.
        SpareTaken,
    }
}
