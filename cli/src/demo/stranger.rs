//! The demo's stranger: somebody with a plain etcd client who may touch the keys of an election.
//! Owns what he does to them; the library has no part in it, so what he sees is etcd's own word.

use etcd_client::{Client, Compare, CompareOp, ConnectOptions, DeleteOptions, Error, Txn, TxnOp};

use crate::connection::Connection;
use crate::failure::Failure;

pub(super) struct Stranger(Client);

fn failed(error: Error) -> Failure {
    Failure::other(format!("the demo's own client of etcd: {error}"))
}

fn read(path: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::Usage(format!("{path}: {error}")))
}

impl Stranger {
    pub(super) async fn connect(connection: &Connection) -> Result<Stranger, Failure> {
        let mut options = ConnectOptions::new().with_timeout(super::SOON);
        if let Some((name, password)) = &connection.user {
            options = options.with_user(name, password);
        }
        let mut endpoints = connection.settings.endpoints.clone();
        if connection.tls()?.is_some() {
            let mut with = etcd_client::TlsOptions::new();
            with = match &connection.settings.ca {
                Some(ca) => with.ca_certificate(etcd_client::Certificate::from_pem(read(ca)?)),
                None => with.with_native_roots(),
            };
            if let (Some(cert), Some(key)) = (&connection.settings.cert, &connection.settings.key) {
                with = with.identity(etcd_client::Identity::from_pem(read(cert)?, read(key)?));
            }
            options = options.with_tls(with);
            // Without a scheme this client takes http:// for granted.
            for endpoint in endpoints.iter_mut().filter(|endpoint| !endpoint.contains("://")) {
                *endpoint = format!("https://{endpoint}");
            }
        }
        Ok(Stranger(Client::connect(endpoints, Some(options)).await.map_err(failed)?))
    }

    /// Deletes a key behind its owner's back. False if it was not there.
    pub(super) async fn delete(&mut self, key: &str) -> Result<bool, Failure> {
        Ok(self.0.delete(key, None).await.map_err(failed)?.deleted() > 0)
    }

    pub(super) async fn delete_prefix(&mut self, prefix: &str) -> Result<(), Failure> {
        self.0.delete(prefix, Some(DeleteOptions::new().with_prefix())).await.map_err(failed)?;
        Ok(())
    }

    pub(super) async fn exists(&mut self, key: &str) -> Result<bool, Failure> {
        Ok(!self.0.get(key, None).await.map_err(failed)?.kvs().is_empty())
    }

    /// The write of a term as it would arrive if the network had kept it back: the same guard, no library in between.
    /// True if etcd applied it.
    pub(super) async fn late_write(&mut self, key: &str, token: i64, lease: i64, journal: &str) -> Result<bool, Failure> {
        let guard = vec![
            Compare::create_revision(key, CompareOp::Equal, token),
            Compare::lease(key, CompareOp::Equal, lease),
        ];
        let txn = Txn::new().when(guard).and_then(vec![TxnOp::put(journal, token.to_string(), None)]);
        Ok(self.0.txn(txn).await.map_err(failed)?.succeeded())
    }
}
