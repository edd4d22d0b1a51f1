//! Options of an elector, as C says them. Owns the setters and the health check's way into C; limits are the core's,
//! checked when an elector starts.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;

use leadership_core::{ElectorBuilder, Mode, Result};

use crate::args::{bytes, exclusive, give, invalid, millis, object, out, take, text};
use crate::callback::{UserData, leadership_drop};
use crate::client::Shared;
use crate::error::leadership_error;
use crate::panic::{call, value};
use crate::shared_lease::leadership_shared_lease;

type Set = Arc<dyn Fn(ElectorBuilder) -> ElectorBuilder + Send + Sync>;

/// Options of a leadership_elector. Limits are checked by leadership_elector_start, which copies them.
#[derive(Default)]
pub struct leadership_elector_options {
    set: Vec<Set>,
    /// Of a lease among them.
    shared: Option<Arc<Shared>>,
}

impl leadership_elector_options {
    pub(crate) fn apply(&self, builder: ElectorBuilder) -> ElectorBuilder {
        self.set.iter().fold(builder, |builder, set| set(builder))
    }
}

/// Every option at its default. Free it with leadership_elector_options_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_new(
    options: *mut *mut leadership_elector_options,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or writable, as C promises.
        unsafe { out(options, "options") }?.set(give(leadership_elector_options::default()));
        Ok(())
    })
}

/// Remembers a setting; one that is made again counts as made last.
fn set<F>(options: *mut leadership_elector_options, make: impl FnOnce() -> Result<F>) -> *mut leadership_error
where
    F: Fn(ElectorBuilder) -> ElectorBuilder + Send + Sync + 'static,
{
    call(|| {
        // SAFETY: NULL or valid and used by nobody else meanwhile, as C promises.
        let options = unsafe { exclusive(options, "options") }?;
        options.set.push(Arc::new(make()?));
        Ok(())
    })
}

/// What the others see of the leader, e.g. its address (default: nothing).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_set_value(
    options: *mut leadership_elector_options,
    value: *const u8,
    value_len: usize,
) -> *mut leadership_error {
    set(options, || {
        // SAFETY: NULL or readable for its length, as C promises.
        let value = unsafe { bytes(value, value_len, "value") }?;
        Ok(move |builder: ElectorBuilder| builder.value(value.clone()))
    })
}

/// The TTL to ask for (default 5000); rounded up to whole seconds, and etcd may raise it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_set_ttl(
    options: *mut leadership_elector_options,
    ms: u64,
) -> *mut leadership_error {
    set(options, || Ok(move |builder: ElectorBuilder| builder.ttl(millis(ms))))
}

/// What the election is for; appears in logs and errors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_set_purpose(
    options: *mut leadership_elector_options,
    purpose: *const c_char,
) -> *mut leadership_error {
    set(options, || {
        // SAFETY: NULL or text, as C promises.
        let purpose = unsafe { text(purpose, "purpose") }?.to_owned();
        Ok(move |builder: ElectorBuilder| builder.purpose(purpose.clone()))
    })
}

/// As leadership_options_set_takeover_delay (default 100).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_set_takeover_delay(
    options: *mut leadership_elector_options,
    ms: u64,
) -> *mut leadership_error {
    set(options, || Ok(move |builder: ElectorBuilder| builder.takeover_delay(millis(ms))))
}

/// How long before the deadline a term is lost (default TTL/10, at least 100).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_set_step_down_margin(
    options: *mut leadership_elector_options,
    ms: u64,
) -> *mut leadership_error {
    set(options, || Ok(move |builder: ElectorBuilder| builder.step_down_margin(millis(ms))))
}

/// How long a term that was given up in order is renewed on for its holder to finish (default 10000; at most a day).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_set_drain_timeout(
    options: *mut leadership_elector_options,
    ms: u64,
) -> *mut leadership_error {
    set(options, || Ok(move |builder: ElectorBuilder| builder.drain_timeout(millis(ms))))
}

/// How long not to campaign after a term was given up while it was valid, so that others win (default TTL/5).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_set_cool_down(
    options: *mut leadership_elector_options,
    ms: u64,
) -> *mut leadership_error {
    set(options, || Ok(move |builder: ElectorBuilder| builder.cool_down(millis(ms))))
}

/// How many terms may be lost against this process's will within 5 min before it holds back for a TTL each time
/// (default 3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_set_campaign_limit(
    options: *mut leadership_elector_options,
    terms: usize,
) -> *mut leadership_error {
    set(options, || Ok(move |builder: ElectorBuilder| builder.campaign_limit(terms)))
}

/// The leader key itself, as the PD election package has it.
pub const LEADERSHIP_MODE_SINGLE_KEY: u32 = 1;
/// The key is a prefix, and candidates wait in line under it, as etcd's own clients do.
pub const LEADERSHIP_MODE_QUEUE: u32 = 2;

/// The kind of election, LEADERSHIP_MODE_* (default LEADERSHIP_MODE_SINGLE_KEY).
///
/// Errors: INVALID_ARGUMENT (mode).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_set_mode(
    options: *mut leadership_elector_options,
    mode: u32,
) -> *mut leadership_error {
    set(options, || {
        let mode = match mode {
            LEADERSHIP_MODE_SINGLE_KEY => Mode::SingleKey,
            LEADERSHIP_MODE_QUEUE => Mode::Queue,
            _ => return Err(invalid("mode", format!("{mode} is no LEADERSHIP_MODE_*"))),
        };
        Ok(move |builder: ElectorBuilder| builder.mode(mode))
    })
}

/// Campaigns with this lease, which others may share, instead of one of its own; the TTL is the lease's. Of the same client
/// as the elector. The handle may be freed at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_set_lease(
    options: *mut leadership_elector_options,
    lease: *const leadership_shared_lease,
) -> *mut leadership_error {
    let mut of = None;
    let error = set(options, || {
        // SAFETY: NULL or valid, as C promises.
        let lease = unsafe { object(lease, "lease") }?;
        of = Some(lease.shared.clone());
        let lease = lease.lease.clone();
        Ok(move |builder: ElectorBuilder| builder.lease(&lease))
    });
    // SAFETY: NULL or valid and used by nobody else meanwhile, as C promises.
    if let (Some(options), Some(_)) = (unsafe { options.as_mut() }, &of) {
        options.shared = of;
    }
    error
}

/// Candidates of higher priority take a vacant key first (default 0). A lower one yields by a short delay, never more than a
/// quarter of the TTL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_set_priority(
    options: *mut leadership_elector_options,
    priority: i64,
) -> *mut leadership_error {
    set(options, || Ok(move |builder: ElectorBuilder| builder.priority(priority)))
}

/// Whether this elector, leading, hands over to a healthy candidate of higher priority (default false).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_set_take_back(
    options: *mut leadership_elector_options,
    yields: bool,
) -> *mut leadership_error {
    set(options, || Ok(move |builder: ElectorBuilder| builder.take_back(yields)))
}

/// Whether to hold a granted, registered lease while another leads (default true): a vacant key is taken in one transaction,
/// and the leader can hand over to this candidate; it costs a renewal every TTL/2.5.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_set_warm(
    options: *mut leadership_elector_options,
    warm: bool,
) -> *mut leadership_error {
    set(options, || Ok(move |builder: ElectorBuilder| builder.warm(warm)))
}

/// Says whether this process is well enough to lead: NULL if so, else what is wrong, as text that stays as it is until
/// the next call.
pub type leadership_health_check = Option<unsafe extern "C" fn(user_data: *mut c_void) -> *const c_char>;

/// The user's check with the user's data, for as long as options or an elector have it.
struct HealthCheck {
    check: unsafe extern "C" fn(user_data: *mut c_void) -> *const c_char,
    user: UserData,
}

impl HealthCheck {
    fn ask(&self) -> std::result::Result<(), String> {
        // SAFETY: the user's function with the user's data.
        let wrong = unsafe { (self.check)(self.user.pointer()) };
        if wrong.is_null() {
            return Ok(());
        }
        // SAFETY: text until the next call, as C promises; the next one is this thread's.
        Err(unsafe { CStr::from_ptr(wrong) }.to_string_lossy().into_owned())
    }
}

/// A check that must have succeeded recently for this process to campaign and for its lease to be renewed: a leader
/// whose disk hangs must not stay leader because a healthy thread renews for it. Each elector calls it several times a
/// TTL, on a thread of its own, so it may block: that counts as not succeeding. leadership_elector_close does not wait
/// for a check that is under way; drop is called once, when these options and every elector and term that was made with
/// them are freed and no check is under way any more, on any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_set_health_check(
    options: *mut leadership_elector_options,
    check: leadership_health_check,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    set(options, || {
        let check = check.ok_or_else(|| invalid("check", "is NULL"))?;
        let user = UserData::new(user_data, drop).taken();
        let check = Arc::new(HealthCheck { check, user });
        Ok(move |builder: ElectorBuilder| {
            let check = check.clone();
            builder.health_check(move || check.ask())
        })
    })
}

/// How old the last success of the health check may be (default, and at most, TTL/2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_set_health_age(
    options: *mut leadership_elector_options,
    ms: u64,
) -> *mut leadership_error {
    set(options, || Ok(move |builder: ElectorBuilder| builder.health_age(millis(ms))))
}

/// Frees options; electors started with them stay as they are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_elector_options_free(options: *mut leadership_elector_options) {
    value((), || {
        // SAFETY: NULL or ours and not used again, as C promises.
        let Some(options) = (unsafe { take(options) }) else { return };
        if options.shared.as_ref().is_some_and(|shared| shared.client.forked()) {
            std::mem::forget(options); // as everything that has a client
        }
    });
}
