//! Who takes part in an election: the leader and those who wait, in the order of their turns.
//! Owns what is told of one; reading them is the elector's, the queue's and the operator's.

/// One that takes part in an election.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Participant {
    /// What it campaigns with.
    pub value: Vec<u8>,
    /// Higher is preferred; 0 unless it chose another, and always in a queue.
    pub priority: i64,
    /// The lease that its registration, or its key, hangs on; 0 for a key without one.
    pub lease: i64,
    /// The revision at which it registered, or at which its key was created.
    pub revision: i64,
    /// True for the one that holds the election now.
    pub leads: bool,
}
