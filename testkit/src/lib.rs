//! An etcd in memory, and faults on the way to any etcd: for tests, demos and simulation, never for production.
//! Owns the server's observable behaviour; the suite `tests/tests/conformance.rs` holds it to the real ones.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use leadership_testkit::{Cluster, Method};
//! let cluster = Cluster::single();
//! let wire = cluster.member(0).service(); // a tower service: hand it to tonic's stubs or to etcd-client
//! cluster.put("key", "value", 0); // a stranger's write
//! cluster.faults().refuse(Method::Txn, 1); // the next transaction finds the port dead
//! # drop(wire);
//! # });
//! ```
//!
//! What it does not have: raft, persistence, snapshots, periodic progress notifications, fragmented watch answers,
//! learners, alarms, JWT tokens. It says `Unimplemented` where a client could be misled.

mod auth;
mod cluster;
mod faults;
mod gate;
mod lease;
mod refusal;
mod served;
mod service;
mod state;
mod store;
mod stub;
mod version;
mod watch;
mod wire;

pub use auth::Access;
pub use cluster::{Builder, Cluster, KeyValue, LeaseInfo, Member};
pub use faults::{Faults, Held, Lost, Method, Target};
pub use served::Served;
pub use state::{Stats, Waking};
pub use stub::{bidi, unary};
pub use version::Version;
pub use wire::{BoxError, Wire, wire_from_channel};
