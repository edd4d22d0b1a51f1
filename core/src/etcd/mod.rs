//! The only folder that speaks to etcd: endpoints, calls, renewals, watches.
//! What is said is `protocol`'s; etcd's own types stop here.

mod calls;
mod cluster;
mod dial;
mod due;
mod endpoint;
mod extended;
mod held;
mod level;
mod members;
mod reads;
mod renewals;
mod renewer;
mod streams;
mod sync;
mod watcher;
mod watches;
mod wire;

pub(crate) use calls::{Ask, Etcd, Failure, Got};
pub(crate) use endpoint::{Dialer, Plan};
pub(crate) use level::Reader;
pub(crate) use renewals::{Proof, Renewals};
pub(crate) use renewer::Renewer;
pub(crate) use sync::keep_in_sync;
pub(crate) use watcher::{Subscription, Watcher};
pub(crate) use watches::{Level, Watches};
pub use wire::Wire;
