//! Options of a handle and of a campaign, as C says them, and campaigning itself.
//! Owns the setters and the two forms of waiting; winning is the core's.

use std::ffi::{c_char, c_void};
use std::time::Duration;

use leadership_core::{CampaignOptions, Compare, DEFAULT_TTL, LeadershipOptions, Result};

use crate::args::{bytes, exclusive, give, millis, object, out, take, text};
use crate::callback::{UserData, leadership_drop};
use crate::cancel::leadership_cancel;
use crate::compare::leadership_compare;
use crate::error::leadership_error;
use crate::handle::leadership_handle;
use crate::panic::{call, value};
use crate::term::leadership_term;
use crate::wait::{Bounds, start_giving};

/// Options of a leadership_handle. Limits are checked by leadership_new, which copies them.
#[derive(Debug)]
pub struct leadership_options(pub(crate) LeadershipOptions);

/// Every option at its default. Free it with leadership_options_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_options_new(options: *mut *mut leadership_options) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or writable, as C promises.
        unsafe { out(options, "options") }?.set(give(leadership_options(LeadershipOptions::default())));
        Ok(())
    })
}

fn set(
    options: *mut leadership_options,
    set: impl FnOnce(LeadershipOptions) -> Result<LeadershipOptions>,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid and used by nobody else meanwhile, as C promises.
        let options = unsafe { exclusive(options, "options") }?;
        options.0 = set(options.0.clone())?;
        Ok(())
    })
}

/// What the leadership is for; appears in logs and errors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_options_set_purpose(
    options: *mut leadership_options,
    purpose: *const c_char,
) -> *mut leadership_error {
    set(options, |options| {
        // SAFETY: NULL or text, as C promises.
        Ok(options.purpose(unsafe { text(purpose, "purpose") }?))
    })
}

/// How long a winner waits when the key went without its holder's word (default 100; at most a day). 0 takes the risk
/// of an overlap on an etcd leader that revokes too early; the TTL excludes it for holders of any library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_options_set_takeover_delay(
    options: *mut leadership_options,
    ms: u64,
) -> *mut leadership_error {
    set(options, |options| Ok(options.takeover_delay(millis(ms))))
}

/// How long before the deadline a term is lost (default TTL/10, at least 100).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_options_set_step_down_margin(
    options: *mut leadership_options,
    ms: u64,
) -> *mut leadership_error {
    set(options, |options| Ok(options.step_down_margin(millis(ms))))
}

/// The window in which campaigns are counted (default 300000).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_options_set_campaign_window(
    options: *mut leadership_options,
    ms: u64,
) -> *mut leadership_error {
    set(options, |options| Ok(options.campaign_window(millis(ms))))
}

/// A primary watch also ends on an overwrite (default false).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_options_set_primary_watch(
    options: *mut leadership_options,
    primary: bool,
) -> *mut leadership_error {
    set(options, |options| Ok(options.primary_watch(primary)))
}

/// Frees options; handles made with them stay as they are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_options_free(options: *mut leadership_options) {
    // SAFETY: NULL or ours and not used again, as C promises.
    value((), || drop(unsafe { take(options) }));
}

/// Options of a campaign: its value, TTL and conditions. Copied by each campaign.
#[derive(Debug)]
pub struct leadership_campaign_options {
    value: Vec<u8>,
    ttl: Duration,
    compares: Vec<Compare>,
}

impl Default for leadership_campaign_options {
    fn default() -> Self {
        leadership_campaign_options {
            value: Vec::new(),
            ttl: DEFAULT_TTL,
            compares: Vec::new(),
        }
    }
}

impl leadership_campaign_options {
    fn build(&self) -> CampaignOptions {
        let built = CampaignOptions::new(self.value.clone()).ttl(self.ttl);
        self.compares.iter().cloned().fold(built, CampaignOptions::compare)
    }
}

/// No value, a TTL of 5 s, no conditions. Free it with leadership_campaign_options_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_campaign_options_new(
    options: *mut *mut leadership_campaign_options,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or writable, as C promises.
        unsafe { out(options, "options") }?.set(give(leadership_campaign_options::default()));
        Ok(())
    })
}

/// The value of the leader key while this campaign's term lasts, e.g. the address of the service.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_campaign_options_set_value(
    options: *mut leadership_campaign_options,
    value: *const u8,
    value_len: usize,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, the object used by nobody else meanwhile, as C promises.
        let (options, value) = unsafe { (exclusive(options, "options")?, bytes(value, value_len, "value")?) };
        options.value = value;
        Ok(())
    })
}

/// The TTL to ask for (default 5000); rounded up to whole seconds, and etcd may raise it. Ignored with a lease set by
/// leadership_set_lease.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_campaign_options_set_ttl(
    options: *mut leadership_campaign_options,
    ms: u64,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid and used by nobody else meanwhile, as C promises.
        let options = unsafe { exclusive(options, "options") }?;
        options.ttl = millis(ms);
        Ok(())
    })
}

/// Adds a condition that must hold in the same transaction that takes the key (at most 126). Copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_campaign_options_add_compare(
    options: *mut leadership_campaign_options,
    compare: *const leadership_compare,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, the first used by nobody else meanwhile, as C promises.
        let (options, compare) = unsafe { (exclusive(options, "options")?, object(compare, "compare")?) };
        options.compares.push(compare.0.clone());
        Ok(())
    })
}

/// Frees options; campaigns under way go on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_campaign_options_free(options: *mut leadership_campaign_options) {
    // SAFETY: NULL or ours and not used again, as C promises.
    value((), || drop(unsafe { take(options) }));
}

pub(crate) fn options_or_default(options: Option<&leadership_campaign_options>) -> CampaignOptions {
    options.map_or_else(|| leadership_campaign_options::default().build(), leadership_campaign_options::build)
}

/// Tries to take the key, once. Success means: this process leads, proven. The term lives until its lease's deadline,
/// and longer once leadership_keep is called. After a failed campaign the next one waits for a jittered back-off (50 ms
/// to 2 s). If it fails, is cancelled or runs out of time, no key and no lease are left behind (at the latest one TTL
/// after etcd can be reached again).
///
/// options: or NULL for the defaults. term: a view, to be freed with leadership_term_free.
/// Errors: NOT_ELECTED (says who holds the key), COMPARE_FAILED, INVALID_ARGUMENT, UNAVAILABLE (also while another
/// campaign of this handle is under way; one that is being given up is waited for), TIMEOUT, CANCELLED (also by
/// leadership_reset), PERMISSION_DENIED, CLUSTER_CHANGED, CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_campaign(
    handle: *const leadership_handle,
    options: *const leadership_campaign_options,
    timeout_ms: u64,
    cancel: *const leadership_cancel,
    term: *mut *mut leadership_term,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (handle, options, bounds, won) = unsafe {
            (object(handle, "handle")?, options.as_ref(), Bounds::new(timeout_ms, cancel), out(term, "term")?)
        };
        let term = bounds.wait("campaign", handle.lead.campaign(options_or_default(options)))?;
        won.set(leadership_term::give(term, &handle.shared));
        Ok(())
    })
}

/// Completion of leadership_campaign_start. Exactly one of error and term is not NULL, and it is the callback's to free.
pub type leadership_campaign_done =
    Option<unsafe extern "C" fn(user_data: *mut c_void, error: *mut leadership_error, term: *mut leadership_term)>;

/// leadership_campaign without waiting: `done` is called once. leadership_free and leadership_client_close end it early
/// (CANCELLED, CLOSED).
///
/// Errors: INVALID_ARGUMENT (NULL), CLOSED; all others go to `done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_campaign_start(
    handle: *const leadership_handle,
    options: *const leadership_campaign_options,
    cancel: *const leadership_cancel,
    done: leadership_campaign_done,
    user_data: *mut c_void,
    drop: leadership_drop,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: each NULL or valid, as C promises.
        let (handle, options) = unsafe { (object(handle, "handle")?, options.as_ref()) };
        handle.shared.client.ensure_usable()?;
        let (lead, shared) = (handle.lead.clone(), handle.shared.clone());
        let options = options_or_default(options);
        let campaign = async move { lead.campaign(options).await };
        let user = UserData::new(user_data, drop);
        let won = move |term| Ok(leadership_term::give(term, &shared));
        // SAFETY: NULL or valid, as C promises.
        unsafe { start_giving(&handle.shared.calls, "campaign", cancel, done, user, campaign, won) }
    })
}
