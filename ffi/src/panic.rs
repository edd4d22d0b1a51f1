//! The one place that catches panics: no panic crosses the C boundary (S14).
//! Owns turning one into the error Internal; what an error is in C is `error`'s.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use futures_util::FutureExt;
use leadership_core::{Error, Result};

use crate::error::leadership_error;

/// Runs the body of a fallible function: NULL is success.
pub(crate) fn call(body: impl FnOnce() -> Result<()>) -> *mut leadership_error {
    match catch(body) {
        Ok(()) => ptr::null_mut(),
        Err(error) => leadership_error::give(&error),
    }
}

/// Runs the body of a function that has no error to return, and answers `fallback` for a panic.
pub(crate) fn value<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    match catch(|| Ok(body())) {
        Ok(answer) => answer,
        Err(error) => {
            log::error!("{error}");
            fallback
        }
    }
}

/// A panic of the body as an error. Whatever it held is not looked at again by anybody: hence unwind safe.
pub(crate) fn catch<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(caught(&*panic)))
}

/// The same for a future.
pub(crate) async fn catch_future<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(future).catch_unwind().await.unwrap_or_else(|panic| Err(caught(&*panic)))
}

fn caught(panic: &(dyn Any + Send)) -> Error {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::Internal {
        message: format!("a panic was caught: {}", said.unwrap_or("without a message")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a failed assertion is what a test is for
mod tests {
    use super::*;

    #[test]
    fn s14_a_panic_becomes_the_error_internal() {
        let message = "a panic was caught: boom".to_owned();
        assert_eq!(catch::<()>(|| panic!("boom")), Err(Error::Internal { message: message.clone() }));
        let number = 7;
        let future = catch_future::<()>(async move { panic!("boom {number}") });
        let said = leadership_core::block_on(future, None, None).unwrap().unwrap_err().to_string();
        assert!(said.contains("boom 7"), "{said}");
        assert_eq!(value(3, || panic!("boom")), 3);
    }
}
