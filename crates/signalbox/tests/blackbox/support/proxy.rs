//! A TCP proxy in the test: an address that stays while what is behind it comes, goes, and moves.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes connections on to its target; without one it closes them at once.
#[derive(Clone)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    target: Option<String>,
    open: Vec<TcpStream>,
    /// What was passed on over each connection, where that is kept.
    seen: Option<Vec<Seen>>,
}

/// What was passed on over a connection.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    of_client: Arc<Mutex<Vec<u8>>>,
    of_server: Arc<Mutex<Vec<u8>>>,
}

impl Seen {
    /// What the client sent up to now.
    pub(crate) fn of_client(&self) -> Vec<u8> {
        self.of_client.lock().unwrap().clone()
    }

    /// What the server sent up to now.
    pub(crate) fn of_server(&self) -> Vec<u8> {
        self.of_server.lock().unwrap().clone()
    }
}

impl Proxy {
    /// Listens for as long as the tests run.
    pub(crate) fn start(target: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Mutex::new(Shared { target, ..Shared::default() }));
        let proxy = Self { address, shared };
        let accepting = proxy.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = accepting.pass_on(&stream);
            }
        });
        proxy
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on it keeps what goes over new connections.
    pub(crate) fn look(&self) {
        self.shared.lock().unwrap().seen.get_or_insert_default();
    }

    /// What went over each connection since.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.lock().unwrap().seen.clone().unwrap_or_default()
    }

    /// From now on connections go there.
    pub(crate) fn connect(&self, target: &str) {
        self.shared.lock().unwrap().target = Some(target.to_owned());
    }

    /// Cuts every connection, and lets none through.
    pub(crate) fn cut(&self) {
        let mut shared = self.shared.lock().unwrap();
        shared.target = None;
        for stream in shared.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn pass_on(&self, client: &TcpStream) -> io::Result<()> {
        let mut shared = self.shared.lock().unwrap();
        let Some(target) = &shared.target else { return client.shutdown(Shutdown::Both) };
        let server = TcpStream::connect(target)?;
        let seen = shared.seen.as_mut().map(|all| {
            all.push(Seen::default());
            all[all.len() - 1].clone()
        });
        let (of_client, of_server) = seen.map(|seen| (seen.of_client, seen.of_server)).unzip();
        for (from, to, kept) in [(client, &server, of_client), (&server, client, of_server)] {
            let (from, to) = (from.try_clone()?, to.try_clone()?);
            thread::spawn(move || copy(from, to, kept.as_deref()));
        }
        shared.open.extend([client.try_clone()?, server]);
        Ok(())
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, kept: Option<&Mutex<Vec<u8>>>) {
    let _ = to.set_nodelay(true);
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if let Some(kept) = kept {
            kept.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
