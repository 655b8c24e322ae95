/// Answers every request.
func main(context: RuntimeContext) async throws -> RuntimeOutput {
  let name = context.req.query["name"] ?? "world"
  context.log("Greeting", name)
  return try context.res.json(["language": "swift", "message": "Hello, \(name)!"])
}
