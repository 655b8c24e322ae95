def main(req, res):
    if req.payload == "text":
        return res.send("text", 202)
    return res.json({"payload": req.payload, "header": req.headers.get("x-test"), "env": req.env["CUSTOM_ENV_VAR"]}, 201)
