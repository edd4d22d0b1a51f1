//! Leader election with provable authority, on etcd.
//!
//! A service learns *that* it leads, checks it in nanoseconds ([`TermHandle::is_valid`]), proves it on every write
//! ([`TermHandle::txn`], [`TermHandle::token`]) and stops in time when it no longer does ([`TermHandle::lost`]).
//!
//! ```no_run
//! use leadership_core::{CampaignOptions, Client, Leadership, Op};
//!
//! # async fn example() -> leadership_core::Result<()> {
//! let client = Client::connect(["127.0.0.1:2379"])?;
//! let lead = Leadership::new(&client, "billing/leader", "billing")?;
//! let term = lead.campaign(CampaignOptions::new("host-a:8080")).await?;
//! lead.keep()?;
//! while !term.is_lost() {
//!     term.txn().then([Op::put("billing/state", "…")]).commit().await?; // fails unless this very term still holds
//! }
//! client.close().await
//! # }
//! ```
//!
//! What it does not promise: that a process that believes it leads is still leading when its packet arrives elsewhere.
//! That is what the token and the guarded transaction are for.

mod blocking;
mod client;
mod clock;
mod dispatch;
mod elector;
mod error;
mod etcd;
mod handing;
mod io;
mod leadership;
mod lease;
mod moving;
mod observer;
mod operator;
mod options;
mod pages;
mod participant;
mod protocol;
mod queue;
mod release;
mod resets;
mod settings;
mod survey;
mod shared_lease;
mod term;
mod thread;
mod tls;
mod x509;

pub use blocking::{CancelToken, Interrupted, block_on};
pub use client::{Client, Ended};
pub use clock::{BootTime, Clock, VirtualClock};
pub use dispatch::Dispatcher;
pub use elector::{Calling, Elector, ElectorBuilder, ElectorEvent, ElectorEvents, ElectorState, Mode, Term};
pub use error::{Error, Reason, Result};
pub use etcd::Wire;
pub use handing::Successor;
pub use leadership::{GuardedTxn, Leadership, TermEvent, TermEvents, TermHandle, WatchEnd};
pub use lease::Lease;
pub use observer::{Observed, Observer};
pub use operator::Operator;
pub use options::{
    CampaignOptions, ClientOptions, DEFAULT_CAMPAIGN_WINDOW, DEFAULT_DRIFT_PPM, DEFAULT_REQUEST_TIMEOUT, DEFAULT_REREAD,
    DEFAULT_TAKEOVER_DELAY, DEFAULT_TTL, LeadershipOptions, SAFETY_MARGIN,
};
pub use participant::Participant;
pub use queue::Election;
pub use protocol::{Compare, CompareOp, KeyValue, Leader, Op, OpReply, TxnReply};
pub use settings::Settings;
pub use survey::Surveyed;
pub use shared_lease::SharedLease;
pub use term::TermState;
pub use tls::{Pem, Tls};
