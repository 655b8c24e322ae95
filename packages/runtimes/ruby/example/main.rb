# frozen_string_literal: true

# Answers with what it was asked, as JSON.
def main(context)
  context.log("#{context.req.method} #{context.req.path}")
  name = context.req.query.fetch("name", "world")
  context.res.json({ message: "Hello #{name}", language: "ruby" })
end
