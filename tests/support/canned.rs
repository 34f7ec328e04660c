//! A bus that gives the answers that a test wants, one for each request.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};

/// Listens on a free port. The thread that answers ends with its last answer, or with the tests.
pub(crate) struct Canned {
    pub(crate) address: SocketAddr,
    /// The first line of each request with its body.
    pub(crate) requests: Receiver<(String, String)>,
}

impl Canned {
    /// Answers with these, in order: a status with further headers, and a body. An empty status is no answer:
    /// the connection stays open.
    pub(crate) fn new(answers: &'static [(&'static str, &'static str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = mpsc::channel();
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for (head, body) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read(&stream);
                if head.is_empty() {
                    silent.push(stream);
                } else {
                    let length = body.len();
                    let _ = write!(
                        stream,
                        "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                    );
                }
                if seen.send(request).is_err() {
                    return;
                }
            }
            // Silent connections stay open until the test ends.
            while !silent.is_empty() {
                std::thread::park();
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn read(stream: &TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    (first.trim().to_owned(), body)
}
