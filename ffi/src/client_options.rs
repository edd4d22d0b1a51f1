//! How to reach etcd and how careful to be, as C says it. Owns the setters; defaults and limits are the core's.

use std::ffi::c_char;
use std::path::Path;
use std::time::Duration;

use leadership_core::{ClientOptions, Pem, Result, Settings, Tls};

use crate::args::{bytes, exclusive, give, invalid, millis, out, take, text};
use crate::error::leadership_error;
use crate::panic::{call, value};

/// Options of a client. Limits are checked by leadership_client_connect, which copies them: one object serves many.
#[derive(Debug, Default)]
pub struct leadership_client_options {
    /// Of the environment; what leadership_client_connect is given goes first.
    endpoints: Option<Vec<String>>,
    credentials: Option<(String, String)>,
    tls: Option<Tls>,
    namespace: Vec<u8>,
    request_timeout: Option<Duration>,
    drift_ppm: Option<u32>,
    reread: Option<Duration>,
    endpoint_sync: Option<Duration>,
}

impl leadership_client_options {
    pub(crate) fn build(&self, endpoints: Option<&str>) -> Result<ClientOptions> {
        let built = match (endpoints, &self.endpoints) {
            (Some(given), _) => ClientOptions::new(given.split(',').map(str::trim)),
            (None, Some(found)) => ClientOptions::new(found.clone()),
            (None, None) => return Err(invalid("endpoints", "is NULL")),
        };
        let mut built = built.namespace(self.namespace.clone());
        if let Some((user, password)) = &self.credentials {
            built = built.credentials(user, password);
        }
        if let Some(tls) = &self.tls {
            built = built.tls(tls.clone());
        }
        if let Some(timeout) = self.request_timeout {
            built = built.request_timeout(timeout);
        }
        if let Some(ppm) = self.drift_ppm {
            built = built.drift_ppm(ppm);
        }
        if let Some(interval) = self.reread {
            built = built.reread_interval(interval);
        }
        if let Some(interval) = self.endpoint_sync {
            built = built.endpoint_sync(interval);
        }
        Ok(built)
    }
}

/// Every option at its default. Free it with leadership_client_options_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_options_new(
    options: *mut *mut leadership_client_options,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or writable, as C promises.
        unsafe { out(options, "options") }?.set(give(leadership_client_options::default()));
        Ok(())
    })
}

fn set(
    options: *mut leadership_client_options,
    set: impl FnOnce(&mut leadership_client_options) -> Result<()>,
) -> *mut leadership_error {
    call(|| {
        // SAFETY: NULL or valid and used by nobody else meanwhile, as C promises.
        set(unsafe { exclusive(options, "options") }?)
    })
}

/// Takes endpoints, user and certificates from the environment: LEADERSHIP_ENDPOINTS (else 127.0.0.1:2379), _USER (name
/// or name:password), _PASSWORD, and the files _TLS_CA, _TLS_CERT and _TLS_KEY, each also as the ETCDCTL_ variable that
/// etcdctl reads. With such options leadership_client_connect may be given NULL for the endpoints. Reads files; not
/// while another thread changes the environment.
///
/// Errors: INVALID_ARGUMENT (user, tls_ca, tls_cert, tls_key): a half is missing, or a file cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_options_from_environment(
    options: *mut leadership_client_options,
) -> *mut leadership_error {
    set(options, |options| {
        let settings = Settings::default().or_environment();
        let (credentials, tls) = (settings.credentials()?, settings.tls()?);
        options.credentials = credentials.or(options.credentials.take());
        options.tls = tls.or(options.tls.take());
        options.endpoints = Some(settings.endpoints);
        Ok(())
    })
}

/// User and password of etcd's own authentication.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_options_set_credentials(
    options: *mut leadership_client_options,
    user: *const c_char,
    password: *const c_char,
) -> *mut leadership_error {
    set(options, |options| {
        // SAFETY: NULL or text, as C promises.
        let (user, password) = unsafe { (text(user, "user")?, text(password, "password")?) };
        options.credentials = Some((user.to_owned(), password.to_owned()));
        Ok(())
    })
}

/// Encrypts, and trusts these authorities (PEM). Of length 0: encrypts, and trusts the system's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_options_set_ca(
    options: *mut leadership_client_options,
    pem: *const u8,
    pem_len: usize,
) -> *mut leadership_error {
    set(options, |options| {
        // SAFETY: NULL or readable for the length, as C promises.
        let pem = unsafe { bytes(pem, pem_len, "pem") }?;
        options.tls.get_or_insert_default().ca = (!pem.is_empty()).then(|| pem.into());
        Ok(())
    })
}

/// Encrypts, and presents this certificate with its private key (both PEM) to etcd.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_options_set_identity(
    options: *mut leadership_client_options,
    cert_pem: *const u8,
    cert_pem_len: usize,
    key_pem: *const u8,
    key_pem_len: usize,
) -> *mut leadership_error {
    set(options, |options| {
        // SAFETY: each NULL or readable for its length, as C promises.
        let (cert, key) =
            unsafe { (bytes(cert_pem, cert_pem_len, "cert_pem")?, bytes(key_pem, key_pem_len, "key_pem")?) };
        options.tls.get_or_insert_default().identity = Some((cert.into(), key.into()));
        Ok(())
    })
}

/// As leadership_client_options_set_ca, from a file, which is read again for each new connection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_options_set_ca_file(
    options: *mut leadership_client_options,
    path: *const c_char,
) -> *mut leadership_error {
    set(options, |options| {
        // SAFETY: NULL or text, as C promises.
        let path = unsafe { text(path, "path") }?;
        options.tls.get_or_insert_default().ca = Some(file(path));
        Ok(())
    })
}

/// As leadership_client_options_set_identity, from files, which are read again for each new connection: certificates are
/// renewed by writing them anew.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_options_set_identity_files(
    options: *mut leadership_client_options,
    cert_path: *const c_char,
    key_path: *const c_char,
) -> *mut leadership_error {
    set(options, |options| {
        // SAFETY: each NULL or text, as C promises.
        let (cert, key) = unsafe { (text(cert_path, "cert_path")?, text(key_path, "key_path")?) };
        options.tls.get_or_insert_default().identity = Some((file(cert), file(key)));
        Ok(())
    })
}

fn file(path: &str) -> Pem {
    Path::new(path).into()
}

/// Puts this prefix in front of every key, as etcd's namespace package does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_options_set_namespace(
    options: *mut leadership_client_options,
    prefix: *const u8,
    prefix_len: usize,
) -> *mut leadership_error {
    set(options, |options| {
        // SAFETY: NULL or readable for the length, as C promises.
        options.namespace = unsafe { bytes(prefix, prefix_len, "prefix") }?;
        Ok(())
    })
}

/// How long a request may take in all (default 2000; 10 to 3600000).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_options_set_request_timeout(
    options: *mut leadership_client_options,
    ms: u64,
) -> *mut leadership_error {
    set(options, |options| {
        options.request_timeout = Some(millis(ms));
        Ok(())
    })
}

/// By how much clock rates may differ between the machines involved, in parts per million (default 10000 = 1 %; at
/// most 100000).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_options_set_drift(
    options: *mut leadership_client_options,
    ppm: u64,
) -> *mut leadership_error {
    set(options, |options| {
        let ppm = u32::try_from(ppm).map_err(|_| invalid("drift", format!("{ppm} parts per million; at most 100,000 (10 %)")))?;
        options.drift_ppm = Some(ppm);
        Ok(())
    })
}

/// How often watched keys are read again (default 15000, plus or minus 20 %; 100 to 86400000): a bound for what a
/// missed event can cost.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_options_set_reread_interval(
    options: *mut leadership_client_options,
    ms: u64,
) -> *mut leadership_error {
    set(options, |options| {
        options.reread = Some(millis(ms));
        Ok(())
    })
}

/// Follows etcd's member list, read so often (1000 to 86400000) and soon after a fail-over; off unless set. The endpoints
/// given to leadership_client_connect are never forgotten.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_options_set_endpoint_sync(
    options: *mut leadership_client_options,
    ms: u64,
) -> *mut leadership_error {
    set(options, |options| {
        options.endpoint_sync = Some(millis(ms));
        Ok(())
    })
}

/// Frees options; clients made with them stay as they are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leadership_client_options_free(options: *mut leadership_client_options) {
    // SAFETY: NULL or ours and not used again, as C promises.
    value((), || drop(unsafe { take(options) }));
}
