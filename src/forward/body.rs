//! The answer's body: what the site sends, piece by piece, as it comes.
//!
//! Polling it drives the site's connection. A piece is never held back: pieces that are ready together are handed out
//! one after the other without a wait, and the caller's connection writes them together.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Failure, ending::Ending, link::Link, site::SiteState};

/// The body of a response. Dropping it before its end closes the connection to the site.
pub struct Body {
    incoming: Incoming,
    /// Gone once the site closed it.
    link: Option<Box<Link>>,
    /// Gone once the end is told: then there is nothing more to give.
    ending: Option<Ending>,
    site: Arc<SiteState>,
    bytes_max: u64,
    idle_max: Duration,
    /// When the authority of the request ends.
    until: Option<Instant>,
    /// Since when nothing has come; none while pieces come.
    silent_since: Option<Instant>,
    /// Armed late and moved only when it fires: pieces do not touch it.
    timer: Option<Pin<Box<Sleep>>>,
    last_words: Option<LastWords>,
}

type LastWords = Box<dyn FnOnce(Failure) -> Bytes + Send + 'static>;

/// The answer was cut; the connection to the caller is broken off so that it cannot be taken for whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer was cut: {0}")]
pub struct Cut(pub Failure);

impl Body {
    pub(super) fn new(
        incoming: Incoming,
        link: Box<Link>,
        site: Arc<SiteState>,
        ending: Ending,
        (bytes_max, idle_max): (u64, Duration),
    ) -> Self {
        let mut body = Self {
            incoming,
            link: Some(link),
            ending: Some(ending),
            site,
            bytes_max,
            idle_max,
            until: None,
            silent_since: None,
            timer: None,
            last_words: None,
        };
        body.finish_if_at_end();
        body
    }

    /// What to say in a stream that is cut, before it ends: one last event instead of a broken connection.
    pub fn when_cut(&mut self, say: impl FnOnce(Failure) -> Bytes + Send + 'static) {
        self.last_words = Some(Box::new(say));
    }

    /// Cuts the answer at this instant, with [`Failure::AuthorityEnded`]: when a token or certificate expires.
    pub fn cut_at(&mut self, until: Instant) {
        self.until = Some(until);
    }

    /// The next piece from the site: what hyper has already decoded, else what the connection now brings.
    fn poll_site(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let ready = Pin::new(&mut self.incoming).poll_frame(context);
        if ready.is_ready() {
            return ready;
        }
        if let Some(link) = &mut self.link {
            link.drive(context);
        }
        Pin::new(&mut self.incoming).poll_frame(context)
    }

    fn piece(&mut self, data: Bytes) -> Option<Result<Frame<Bytes>, Cut>> {
        self.silent_since = None;
        let Some(ending) = &mut self.ending else { return None };
        // usize is at most 64 bits wide.
        ending.sent.bytes_back += data.len() as u64;
        if ending.sent.bytes_back > self.bytes_max {
            return self.cut(Failure::TooLarge);
        }
        self.finish_if_at_end();
        Some(Ok(Frame::data(data)))
    }

    /// A caller that has the announced length does not ask again: the end is told with the last piece.
    fn finish_if_at_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if let Some(link) = self.link.take() {
            self.site.pool.put(link);
        }
        if let Some(ending) = self.ending.take() {
            ending.whole();
        }
    }

    /// Ends here: the connection is closed, which stops the site's work.
    fn cut(&mut self, failure: Failure) -> Option<Result<Frame<Bytes>, Cut>> {
        self.link = None;
        self.ending.take()?.fail(failure);
        Some(match self.last_words.take() {
            Some(say) => Ok(Frame::data(say(failure))),
            None => Err(Cut(failure)),
        })
    }

    /// Nothing has come: has it been too long?
    fn poll_silence(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let since = *self.silent_since.get_or_insert_with(Instant::now);
        let idle = since + self.idle_max;
        let due = self.until.map_or(idle, |until| until.min(idle));
        let failure = if due == idle { Failure::IdleTimeout } else { Failure::AuthorityEnded };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(context).is_ready() {
            if timer.deadline() >= due {
                return Poll::Ready(self.cut(failure));
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        if this.ending.is_none() {
            return Poll::Ready(None);
        }
        // Also while pieces come: a caller that reads slowly never lets the timer of a silence run.
        if this.until.is_some_and(|until| Instant::now() >= until) {
            return Poll::Ready(this.cut(Failure::AuthorityEnded));
        }
        loop {
            let frame = match this.poll_site(context) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(this.cut(Failure::Broken)),
                Poll::Ready(None) => {
                    this.finish();
                    return Poll::Ready(None);
                }
                Poll::Pending => return this.poll_silence(context),
            };
            // Trailers are on no allow-list.
            if let Ok(data) = frame.into_data() {
                return Poll::Ready(this.piece(data));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ending.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.ending.is_some() { self.incoming.size_hint() } else { SizeHint::with_exact(0) }
    }
}
