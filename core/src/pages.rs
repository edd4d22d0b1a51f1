//! The pages that a fork wipes (S12): every deadline of a client lives here, and a child reads 0 = ended.
//! Owns mapping, slots and the mark by which a child knows itself; what a word means is the cell's.
#![allow(unsafe_code)] // mmap, madvise and the words inside: the only memory whose content a fork must not copy.

use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Words in one page; the first page's first word is the mark of the process that made it.
const PAGE: usize = 4096;
const WORDS: usize = PAGE / size_of::<AtomicU64>();

/// One client's pages. They are unmapped when the last [`Slot`] and the client are gone.
pub(crate) struct Pages {
    mark: NonNull<AtomicU64>,
    inner: Mutex<Inner>,
}

struct Inner {
    maps: Vec<NonNull<AtomicU64>>,
    free: Vec<NonNull<AtomicU64>>,
}

// SAFETY: the pointers lead to atomics in mappings that live as long as `Pages`; all access is atomic or under the mutex.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps the first page. Fails on a kernel without `MADV_WIPEONFORK` (before 4.14).
    pub(crate) fn new() -> io::Result<Arc<Pages>> {
        let first = map()?;
        let mut free: Vec<_> = words(first).collect();
        free.reverse();
        let mark = free.pop().unwrap_or(first);
        // SAFETY: `mark` is the first word of a fresh, zeroed, writable mapping.
        unsafe { mark.as_ref() }.store(1, Ordering::Release);
        Ok(Arc::new(Pages {
            mark,
            inner: Mutex::new(Inner {
                maps: vec![first],
                free,
            }),
        }))
    }

    /// True in a process that was forked (or cloned raw) from the one that made these pages.
    #[inline]
    pub(crate) fn forked(&self) -> bool {
        // SAFETY: the mark lies in a mapping that lives as long as `self`.
        unsafe { self.mark.as_ref() }.load(Ordering::Acquire) == 0
    }

    /// A word of its own, holding 0.
    pub(crate) fn slot(self: &Arc<Pages>) -> io::Result<Slot> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let word = match inner.free.pop() {
            Some(word) => word,
            None => {
                let page = map()?;
                inner.maps.push(page);
                inner.free.extend(words(page).skip(1));
                page
            }
        };
        Ok(Slot {
            word,
            pages: self.clone(),
        })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        for page in inner.maps.drain(..) {
            // SAFETY: `page` came from `map`, is unmapped once, and no slot is left: each holds an Arc of `self`.
            unsafe { libc::munmap(page.as_ptr().cast(), PAGE) };
        }
    }
}

/// One wiped-on-fork word, given back on drop.
pub(crate) struct Slot {
    word: NonNull<AtomicU64>,
    pages: Arc<Pages>,
}

// SAFETY: a slot is a pointer to an atomic that `pages` keeps mapped.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

impl Deref for Slot {
    type Target = AtomicU64;

    #[inline]
    fn deref(&self) -> &AtomicU64 {
        // SAFETY: the mapping lives as long as `self.pages`; the word belongs to this slot alone.
        unsafe { self.word.as_ref() }
    }
}

impl Slot {
    /// True in a forked child of the process that owns the pages.
    #[inline]
    pub(crate) fn forked(&self) -> bool {
        self.pages.forked()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // In a child the mutex may have been held by a thread that does not exist here: leave everything as it is.
        if self.pages.forked() {
            return;
        }
        self.store(0, Ordering::Release);
        let mut inner = self.pages.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.free.push(self.word);
    }
}

fn words(page: NonNull<AtomicU64>) -> impl Iterator<Item = NonNull<AtomicU64>> {
    // SAFETY: each index stays inside the page's WORDS words.
    (0..WORDS).map(move |index| unsafe { page.add(index) })
}

fn map() -> io::Result<NonNull<AtomicU64>> {
    // SAFETY: an anonymous private mapping at an address of the kernel's choice touches nothing that exists.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: exactly the mapping just made.
    if unsafe { libc::madvise(page, PAGE, libc::MADV_WIPEONFORK) } != 0 {
        let error = io::Error::last_os_error();
        // SAFETY: as above; nobody else knows of it yet.
        unsafe { libc::munmap(page, PAGE) };
        return Err(error);
    }
    NonNull::new(page.cast()).ok_or_else(|| io::Error::other("mmap returned NULL"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_distinct_zeroed_and_reused() {
        let pages = Pages::new().unwrap();
        let slots: Vec<_> = (0..1500).map(|_| pages.slot().unwrap()).collect();
        for (index, slot) in slots.iter().enumerate() {
            assert_eq!(slot.load(Ordering::Relaxed), 0);
            slot.store(index as u64 + 1, Ordering::Relaxed);
        }
        for (index, slot) in slots.iter().enumerate() {
            assert_eq!(slot.load(Ordering::Relaxed), index as u64 + 1);
        }
        let maps = pages.inner.lock().unwrap().maps.len();
        drop(slots);
        let again: Vec<_> = (0..1500).map(|_| pages.slot().unwrap()).collect();
        assert!(again.iter().all(|slot| slot.load(Ordering::Relaxed) == 0));
        assert_eq!(pages.inner.lock().unwrap().maps.len(), maps);
    }

    #[test]
    fn s12_a_child_reads_zero_and_knows_itself() {
        let pages = Pages::new().unwrap();
        let slot = pages.slot().unwrap();
        slot.store(77, Ordering::SeqCst);
        // SAFETY: the child calls only async-signal-safe code: two loads and `_exit`.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            let ok = pages.forked() && slot.load(Ordering::SeqCst) == 0;
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(if ok { 0 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: `child` is our own child and `status` is writable.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
        assert!(!pages.forked());
        assert_eq!(slot.load(Ordering::SeqCst), 77);
    }
}
