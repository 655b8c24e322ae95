# frozen_string_literal: true

# The older form: what is sent is the response.
def main(req, res)
  if req.payload == "text"
    res.send("text", 202)
  else
    res.json({ payload: req.payload, header: req.headers["x-test"], env: req.env["CUSTOM_ENV_VAR"] }, 201)
  end
end
