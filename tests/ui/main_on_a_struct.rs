use annulet_macros as runtime;

#[runtime::main]
struct Server {
    port: u16,
}

fn main() {
    println!("{}", Server { port: 80 }.port);
}
