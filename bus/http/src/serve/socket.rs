//! A connection's socket with two owners. hyper reads and writes it. The server keeps a handle, to see whether
//! the client is still there, and to close it cleanly after hyper.
//!
//! Never here: limits.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

use super::activity::Activity;

/// How many unwanted bytes are read at a time.
const DRAIN_BYTES: usize = 16 << 10;

/// The server's handle to a connection.
pub(super) struct Line {
    /// The write half, through which the whole socket can be reached.
    socket: OwnedWriteHalf,
    pub(super) activity: Arc<Activity>,
    /// Notified when the connection must close to make place for a new one.
    pub(super) evicted: Notify,
}

/// What is known about a client without reading from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ClientState {
    /// There are no unread bytes.
    Quiet,
    /// There are unread bytes.
    Sending,
    /// The client will send no more. It may still read.
    HalfClosed,
    /// The connection is broken.
    Gone,
}

impl Line {
    /// The server's handle, and what hyper gets.
    pub(super) fn new(stream: TcpStream) -> (Arc<Self>, Watched) {
        let (reading, writing) = stream.into_split();
        let line = Arc::new(Self {
            socket: writing,
            activity: Arc::new(Activity::new()),
            evicted: Notify::new(),
        });
        let watched = Watched {
            reading,
            line: line.clone(),
        };
        (line, watched)
    }

    fn stream(&self) -> &TcpStream {
        self.socket.as_ref()
    }

    /// Makes the socket send at once what is written to it. Errors are ignored, because a broken socket
    /// reports one when it is read.
    pub(super) fn send_at_once(&self) {
        let _ = self.stream().set_nodelay(true);
    }

    /// Looks at what the client has sent, without reading it.
    pub(super) fn look(&self) -> ClientState {
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(self.stream(), &mut byte[..], flags) {
            Ok((_, 0)) => ClientState::HalfClosed,
            Ok(_) => ClientState::Sending,
            Err(Errno::WOULDBLOCK | Errno::INTR) => ClientState::Quiet,
            Err(_) => ClientState::Gone,
        }
    }

    /// Closes the sending side.
    pub(super) fn shut(&self) -> io::Result<()> {
        rustix::net::shutdown(self.stream(), Shutdown::Write).map_err(io::Error::from)
    }

    /// Reads and discards until the client closes its side or `bytes_max` bytes have come. If a socket is
    /// closed while bytes are on their way, the connection is reset, and the client never sees the answer.
    pub(super) async fn drain(&self, bytes_max: usize) {
        let stream = self.stream();
        let mut scrap = vec![0; DRAIN_BYTES];
        let mut bytes = 0;
        while bytes < bytes_max && stream.readable().await.is_ok() {
            match stream.try_read(&mut scrap) {
                Ok(0) => return,
                Ok(length) => {
                    bytes += length;
                    self.activity.bytes_drained();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

/// The socket as hyper uses it. It records when bytes arrive and when writing is blocked.
pub(super) struct Watched {
    reading: OwnedReadHalf,
    line: Arc<Line>,
}

impl Watched {
    /// Calls `write` once the socket accepts bytes.
    fn poll_with(
        &self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let stream = self.line.stream();
        loop {
            ready!(stream.poll_write_ready(context))?;
            match write(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.reading).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.line.activity.bytes_came();
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = self.poll_with(context, |stream| stream.try_write(bytes));
        self.line.activity.write_ended(result.is_pending());
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = self.poll_with(context, |stream| stream.try_write_vectored(slices));
        self.line.activity.write_ended(result.is_pending());
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The system has what was written.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.line.shut() {
            // The client closed it first.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}
