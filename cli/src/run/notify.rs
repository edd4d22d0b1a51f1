//! What a service manager is told (`sd_notify`): ready once elected, where it stands, and that it stops.
//! Owns the words; without NOTIFY_SOCKET nothing is sent.

use sd_notify::NotifyState;

pub(super) fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

pub(super) fn ready(text: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(text)]);
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::debug!("sd_notify: {error}");
    }
}
