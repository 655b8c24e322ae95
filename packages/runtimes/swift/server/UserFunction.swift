/// The function of the source, which is compiled in one module with the server. Here, since inside of the program `main` is the program's own.
let userFunction: UserFunction = { context in try await main(context: context) }
