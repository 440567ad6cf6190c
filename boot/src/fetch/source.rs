//! Where bytes come from: a URL's scheme names who exchanges a request for an answer.

use super::error::Reason;
use super::host::LastHost;
use super::http::Http;
use super::request::Request;
use super::tftp;
use super::transfer::Transfer;
use super::watch::Exchange;
use crate::net::Net;
use crate::url::{Scheme, Url};

/// Whether a source can send the rest of a file alone.
pub(super) fn sends_the_rest(scheme: Scheme) -> bool {
    match scheme {
        Scheme::Http => true,
        Scheme::Tftp => false,
    }
}

/// All sources, with what is kept from one request to the next.
#[derive(Debug, Default)]
pub(super) struct Sources {
    http: Http,
    host: LastHost,
}

impl Sources {
    /// One request and its answer, told to whoever watches. `Some`: a redirect to follow.
    pub(super) fn exchange(
        &mut self,
        net: &mut Net<'_>,
        request: &Request<'_>,
        transfer: &mut Transfer<'_, '_>,
    ) -> Result<Option<Url>, Reason> {
        transfer.watch.asking(request);
        transfer.came = 0;
        let (host, mut status) = (&mut self.host, None);
        let result = match request.url.scheme() {
            Scheme::Http => self.http.exchange(net, host, request, transfer, &mut status),
            Scheme::Tftp => tftp::exchange(net, host, request, transfer).map(|()| None),
        };
        transfer.watch.answered(&Exchange {
            method: request.method,
            url: request.url,
            status,
            length: transfer.total,
            received: transfer.came,
            redirect: result.as_ref().ok().and_then(Option::as_ref),
            failure: result.as_ref().err(),
        });
        result
    }

    /// Closes what is open, and forgets hosts' addresses and what servers want to know.
    pub(super) fn close(&mut self, net: &mut Net<'_>) {
        self.host.forget();
        self.http.close(net);
    }
}
