//! CASES.md, each failure of others as a test: under virtual time on the test server, the ‡ ones on real etcd too.
//! Owns the list; each file holds one chapter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test fails by panicking

#[path = "cases/campaign.rs"]
mod campaign;
#[path = "cases/steps.rs"]
mod steps;
#[path = "cases/keeping.rs"]
mod keeping;
#[path = "cases/hedging.rs"]
mod hedging;
#[path = "cases/giving_up.rs"]
mod giving_up;
#[path = "cases/deadlines.rs"]
mod deadlines;
#[path = "cases/watching.rs"]
mod watching;
#[path = "cases/endpoints.rs"]
mod endpoints;
#[path = "cases/tls.rs"]
mod tls;
#[path = "cases/auth.rs"]
mod auth;
#[path = "cases/lease.rs"]
mod lease;
#[path = "cases/electing.rs"]
mod electing;
#[path = "cases/everyday.rs"]
mod everyday;
#[path = "cases/standing.rs"]
mod standing;
#[path = "cases/standing_early.rs"]
mod standing_early;
#[path = "cases/standing_moving.rs"]
mod standing_moving;
#[path = "cases/queueing.rs"]
mod queueing;
#[path = "cases/observing.rs"]
mod observing;
#[path = "cases/queue_observing.rs"]
mod queue_observing;
#[path = "cases/sharing.rs"]
mod sharing;
#[path = "cases/queue_electing.rs"]
mod queue_electing;
#[path = "cases/schedules.rs"]
mod schedules;
#[path = "cases/takeover.rs"]
mod takeover;
#[path = "cases/writing.rs"]
mod writing;
#[path = "cases/leaving.rs"]
mod leaving;
#[path = "cases/events.rs"]
mod events;
#[path = "cases/input.rs"]
mod input;
#[path = "cases/moving.rs"]
mod moving;
#[path = "cases/reaching.rs"]
mod reaching;
#[path = "cases/handing.rs"]
mod handing;
#[path = "cases/handing_schedules.rs"]
mod handing_schedules;
#[path = "cases/operating.rs"]
mod operating;
#[path = "cases/proclaiming.rs"]
mod proclaiming;
#[path = "cases/process.rs"]
mod process;
#[path = "cases/host.rs"]
mod host;
