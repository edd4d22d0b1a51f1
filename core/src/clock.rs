//! The clock of every deadline: `CLOCK_BOOTTIME`, which counts suspend (S3), or a test's own.
//! Owns reading it and waiting on it (timerfd); what happens at a time is decided by others.
#![allow(unsafe_code)] // clock_gettime and timerfd_*: the standard library has neither (DESIGN §6).

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// A moment on the boot clock, in nanoseconds. Comparable within one time namespace only (S3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BootTime(pub u64);

impl BootTime {
    /// This moment plus `span` (saturating).
    #[must_use]
    pub fn after(self, span: Duration) -> BootTime {
        BootTime(self.0.saturating_add(nanos(span)))
    }

    /// This moment less `span` (saturating at the boot).
    #[must_use]
    pub fn before(self, span: Duration) -> BootTime {
        BootTime(self.0.saturating_sub(nanos(span)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: BootTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Where the time comes from: the kernel's boot clock, or a test's virtual one. Cheap to clone; any thread may read it.
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    Boot,
    Virtual(Arc<VirtualClock>),
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Boot => "Clock::boot",
            Kind::Virtual(_) => "Clock::virtual",
        })
    }
}

impl Clock {
    /// `CLOCK_BOOTTIME`.
    pub fn boot() -> Clock {
        Clock(Kind::Boot)
    }

    /// A virtual clock for tests; see [`VirtualClock`].
    pub fn from_virtual(clock: Arc<VirtualClock>) -> Clock {
        Clock(Kind::Virtual(clock))
    }

    /// Now. Tens of nanoseconds, no lock, no allocation, no I/O.
    #[inline]
    pub fn now(&self) -> BootTime {
        match &self.0 {
            Kind::Boot => BootTime(read(libc::CLOCK_BOOTTIME)),
            Kind::Virtual(clock) => clock.now(),
        }
    }

    /// How long this machine has been suspended since boot, in nanoseconds: tells a jump from slow renewals.
    pub(crate) fn suspended(&self) -> u64 {
        match &self.0 {
            Kind::Boot => read(libc::CLOCK_BOOTTIME).saturating_sub(read(libc::CLOCK_MONOTONIC)),
            Kind::Virtual(clock) => clock.jumped.load(Ordering::Acquire),
        }
    }
}

#[inline]
fn read(id: libc::clockid_t) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid timespec to write to; both clocks exist on every Linux since 2.6.39.
    // A failure is impossible then and would leave 0, "before every deadline of a fresh boot"; so it is checked.
    let failed = unsafe { libc::clock_gettime(id, &mut now) } != 0;
    if failed {
        return u64::MAX; // every deadline has passed: fail to the safe side
    }
    (now.tv_sec as u64) * 1_000_000_000 + now.tv_nsec as u64
}

/// A clock under a test's control: tokio's (pausable) time, times a rate, plus jumps.
///
/// Read it only on the thread of the runtime whose time it follows.
pub struct VirtualClock {
    origin: tokio::time::Instant,
    base: u64,
    /// Parts per million by which this clock runs fast (or slow).
    drift_ppm: i64,
    jumped: AtomicU64,
    jumps: watch::Sender<()>,
}

impl VirtualClock {
    /// Starts at `base`, running `drift_ppm` parts per million fast. Must be called inside a tokio runtime.
    pub fn new(base: BootTime, drift_ppm: i64) -> Arc<VirtualClock> {
        Arc::new(VirtualClock {
            origin: tokio::time::Instant::now(),
            base: base.0,
            drift_ppm,
            jumped: AtomicU64::new(0),
            jumps: watch::Sender::new(()),
        })
    }

    /// Jumps forward, as a suspend does: everything that waits on this clock looks again.
    pub fn jump(&self, span: Duration) {
        self.jumped.fetch_add(nanos(span), Ordering::AcqRel);
        self.jumps.send_replace(());
    }

    fn now(&self) -> BootTime {
        let elapsed = nanos(tokio::time::Instant::now().duration_since(self.origin));
        let skew = (i128::from(elapsed) * i128::from(self.drift_ppm)) / 1_000_000;
        let scaled = u64::try_from(i128::from(elapsed) + skew).unwrap_or(0);
        BootTime(
            self.base
                .saturating_add(scaled)
                .saturating_add(self.jumped.load(Ordering::Acquire)),
        )
    }

    /// How much of tokio's time must pass until this clock has moved by `span`; at least a millisecond,
    /// tokio's own granularity.
    fn unscaled(&self, span: Duration) -> Duration {
        let scaled = i128::from(nanos(span)) * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm));
        Duration::from_nanos(u64::try_from(scaled).unwrap_or(0)).max(Duration::from_millis(1))
    }
}

/// A waiter on a [`Clock`]: a timerfd of the same clock, since the runtime's own timers stop in a suspend (S3).
pub(crate) struct Alarm(AlarmKind);

enum AlarmKind {
    Timer(AsyncFd<OwnedFd>),
    Virtual(Arc<VirtualClock>, watch::Receiver<()>),
}

impl Alarm {
    /// Must be called inside the runtime that will wait on it.
    pub(crate) fn new(clock: &Clock) -> io::Result<Alarm> {
        match &clock.0 {
            Kind::Boot => {
                // SAFETY: no pointers; the result is checked before use.
                let fd = unsafe {
                    libc::timerfd_create(libc::CLOCK_BOOTTIME, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC)
                };
                if fd < 0 {
                    return Err(io::Error::last_os_error());
                }
                // SAFETY: `fd` is open, just made, and owned by nobody else.
                let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                // SAFETY: the descriptor is owned by the `AsyncFd` and stays open until it is deregistered.
                let timer = unsafe { AsyncFd::register(fd)? };
                Ok(Alarm(AlarmKind::Timer(timer)))
            }
            Kind::Virtual(clock) => {
                let jumps = clock.jumps.subscribe();
                Ok(Alarm(AlarmKind::Virtual(clock.clone(), jumps)))
            }
        }
    }

    /// Returns when the clock has reached `at`, at once if it has already. Cancel-safe.
    pub(crate) async fn wait_until(&mut self, at: BootTime) {
        match &mut self.0 {
            AlarmKind::Timer(timer) => {
                while read(libc::CLOCK_BOOTTIME) < at.0 {
                    if arm(timer.get_ref(), at).is_err() {
                        // Cannot happen with a valid descriptor and time; a coarse wait is still right.
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        continue;
                    }
                    match timer.readable().await {
                        Ok(mut ready) => ready.clear_ready(),
                        Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                    }
                }
            }
            AlarmKind::Virtual(clock, jumps) => loop {
                let left = at.since(clock.now());
                if left.is_zero() {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(clock.unscaled(left)) => {}
                    _ = jumps.changed() => {}
                }
            },
        }
    }
}

/// Sets the timer to the absolute time `at`. Setting it also clears an earlier expiry.
fn arm(timer: &OwnedFd, at: BootTime) -> io::Result<()> {
    let spec = libc::itimerspec {
        it_interval: libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: libc::timespec {
            tv_sec: (at.0 / 1_000_000_000) as libc::time_t,
            tv_nsec: (at.0 % 1_000_000_000) as libc::c_long,
        },
    };
    // SAFETY: the descriptor is open, `spec` is a valid itimerspec, and the old value is not asked for.
    let failed = unsafe {
        libc::timerfd_settime(timer.as_raw_fd(), libc::TFD_TIMER_ABSTIME, &spec, std::ptr::null_mut())
    } != 0;
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn s3_the_alarm_of_the_boot_clock_rings_not_before_its_time() {
        let clock = Clock::boot();
        let mut alarm = Alarm::new(&clock).unwrap();
        for span in [30, 5, 0] {
            let at = clock.now().after(Duration::from_millis(span));
            tokio::time::timeout(Duration::from_secs(5), alarm.wait_until(at)).await.unwrap();
            assert!(clock.now() >= at);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn s3_a_jump_wakes_what_waits_on_the_clock() {
        let base = VirtualClock::new(BootTime(1_000), 10_000);
        let clock = Clock::from_virtual(base.clone());
        let mut alarm = Alarm::new(&clock).unwrap();
        let started = tokio::time::Instant::now();
        let at = clock.now().after(Duration::from_secs(3600));
        let waiter = alarm.wait_until(at);
        tokio::pin!(waiter);
        tokio::select! {
            () = &mut waiter => panic!("an hour has not passed"),
            () = tokio::time::sleep(Duration::from_secs(1)) => base.jump(Duration::from_secs(3600)),
        }
        waiter.await;
        assert_eq!(started.elapsed(), Duration::from_secs(1));
        assert_eq!(clock.suspended(), 3_600_000_000_000);
    }
}
