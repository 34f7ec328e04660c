//! Makes a client: address, credentials, timeout, trust.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::error::Error;
use super::request::{Client, Inner};

/// Settings of a client that is not made yet.
#[derive(Clone)]
pub struct Builder {
    url: String,
    bearer: Option<String>,
    timeout: Option<Duration>,
    roots: Vec<Vec<u8>>,
}

/// Whether there is a token, never the token.
impl fmt::Debug for Builder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Builder")
            .field("url", &self.url)
            .field("bearer", &self.bearer.as_ref().map(|_| "…"))
            .field("timeout", &self.timeout)
            .field("roots", &self.roots.len())
            .finish()
    }
}

impl Builder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            bearer: None,
            timeout: None,
            roots: Vec::new(),
        }
    }

    /// Sends this token with each request, as `Authorization: Bearer TOKEN`. With an `http` address it goes over the
    /// network in the clear.
    #[must_use]
    pub fn bearer(self, token: impl Into<String>) -> Self {
        Self {
            bearer: Some(token.into()),
            ..self
        }
    }

    /// Ends a request that has no whole answer after this time, and a stream that is not open after it. A stream that
    /// is open goes on.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ..self
        }
    }

    /// Trusts the certificates in this PEM text as well as the system's, for `https` addresses.
    #[must_use]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// The client. It connects with its first request.
    ///
    /// # Errors
    /// [`Error::Address`]: the address is no `http` or `https` one, or has a user or a query; the token can't stand in
    /// a header; or no certificate can be trusted.
    pub fn build(self) -> Result<Client, Error> {
        let mut base = self.url.trim_end_matches('/').to_owned();
        if !base.is_empty() && !self.url.contains("://") {
            base.insert_str(0, "http://");
        }
        let refused = |reason: &str| Error::Address {
            url: self.url.clone(),
            reason: reason.to_owned(),
        };
        let uri = base.parse::<Uri>().ok();
        let uri = uri.filter(|uri| uri.authority().is_some());
        let after = base.split_once("://").map_or("", |(_, after)| after);
        let authority = after.split(['/', '?', '#']).next().unwrap_or(after);
        if let Some((_, host)) = authority.rsplit_once('@') {
            // What stands before it may be a password.
            return Err(Error::Address {
                url: host.to_owned(),
                reason: "it can't have a user or a password".to_owned(),
            });
        }
        if base.contains(['?', '#']) {
            return Err(refused("it can't have a query or a fragment"));
        }
        let secure = match uri.as_ref().and_then(Uri::scheme_str) {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(refused("write it as http://HOST:PORT or https://HOST:PORT")),
        };
        let authorization = match &self.bearer {
            None => None,
            Some(token) => {
                let header = HeaderValue::from_str(&format!("Bearer {token}"));
                let mut header = header
                    .map_err(|_| refused("the token holds a character that no header can"))?;
                header.set_sensitive(true);
                Some(header)
            }
        };
        let tls = match secure {
            true => self.trust().map_err(|reason| refused(&reason))?,
            false => RootCertStore::empty(),
        };
        let connector = connector(tls).map_err(|reason| refused(&reason))?;
        Ok(Client(Arc::new(Inner {
            pool: Pool::builder(TokioExecutor::new()).build(connector),
            base,
            authorization,
            timeout: self.timeout,
        })))
    }

    /// The certificates that are trusted: the system's and those that were given.
    fn trust(&self) -> Result<RootCertStore, String> {
        let mut store = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(system.certs);
        for pem in &self.roots {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| error.to_string())?;
                store.add(certificate).map_err(|error| error.to_string())?;
            }
        }
        match store.is_empty() {
            true => Err("this system trusts no certificates, and none were given".to_owned()),
            false => Ok(store),
        }
    }
}

fn connector(roots: RootCertStore) -> Result<HttpsConnector<HttpConnector>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Ok(connector)
}
