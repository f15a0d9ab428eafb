// Shows openapi.json: its operations, their parameters and bodies, and sends requests by hand.
// All text goes into the page as text, never as HTML.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
// Schemas may contain themselves: below this they are only named.
const DEPTH_MAX = 6;
let description;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made[key] = value;
  made.append(...children.filter((child) => child !== undefined && child !== ""));
  return made;
}

function resolved(schema) {
  let found = schema ?? {};
  for (let step = 0; found.$ref && step < DEPTH_MAX; step++) {
    found = found.$ref.replace("#/", "").split("/").reduce((value, name) => value?.[name], description) ?? {};
  }
  return found;
}

function nameOf(schema) {
  if (!schema) return "anything";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const choice = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (choice) return choice.map(nameOf).join(schema.allOf ? " & " : " | ");
  const kind = [schema.type ?? "anything"].flat().join(" | ");
  if (schema.items) return `${nameOf(schema.items)}[]`;
  const limits = ["format", "minimum", "maximum", "minLength", "maxLength", "maxItems", "default"]
    .filter((limit) => schema[limit] !== undefined && schema[limit] !== null)
    .map((limit) => (limit === "format" ? schema.format : `${limit} ${JSON.stringify(schema[limit])}`));
  return limits.length ? `${kind} (${limits.join(", ")})` : kind;
}

// The members of a schema, one line each, with what is below them.
function members(schema, depth = 0) {
  const whole = resolved(schema);
  const parts = whole.oneOf ?? whole.anyOf ?? whole.allOf;
  const list = element("ul", { className: "schema" });
  for (const part of parts ?? []) {
    const below = depth < DEPTH_MAX ? members(part, depth + 1) : "";
    list.append(element("li", {}, element("code", {}, nameOf(part)), below));
  }
  for (const [name, member] of Object.entries(whole.properties ?? {})) {
    const needed = whole.required?.includes(name) ? " required" : "";
    const says = member.description ?? "";
    const below = depth < DEPTH_MAX ? members(member.items ?? member, depth + 1) : "";
    list.append(element("li", {}, element("code", {}, name), ` ${nameOf(member)}`,
      element("b", {}, needed), says && element("div", { className: "note told" }, says), below));
  }
  if (whole.additionalProperties && typeof whole.additionalProperties === "object") {
    list.append(element("li", {}, element("code", {}, "…"), ` ${nameOf(whole.additionalProperties)}`));
  }
  return list.children.length ? list : "";
}

// A value that has the form of a schema, to begin from.
function example(schema, depth = 0) {
  const whole = resolved(schema);
  for (const given of [whole.example, whole.examples?.[0], whole.default, whole.const, whole.enum?.[0]]) {
    if (given !== undefined && given !== null) return given;
  }
  const part = whole.allOf ?? whole.oneOf ?? whole.anyOf;
  if (part && depth < DEPTH_MAX) {
    const made = (whole.allOf ? part : part.slice(0, 1)).map((one) => example(one, depth + 1));
    return made.every((one) => one && typeof one === "object" && !Array.isArray(one))
      ? Object.assign({}, ...made) : made[0];
  }
  switch ([whole.type].flat().find((kind) => kind !== "null")) {
    case "string": return "";
    case "integer": case "number": return whole.minimum ?? 0;
    case "boolean": return false;
    case "array": return [];
    default: {
      const wanted = Object.entries(whole.properties ?? {})
        .filter(([name]) => depth < DEPTH_MAX && (whole.required ?? []).includes(name));
      return Object.fromEntries(wanted.map(([name, member]) => [name, example(member, depth + 1)]));
    }
  }
}

function parameterTable(parameters) {
  const row = (parameter) => element("tr", {},
    element("td", {}, element("code", {}, parameter.name)),
    element("td", {}, parameter.in + (parameter.required ? ", required" : "")),
    element("td", {}, nameOf(parameter.schema)),
    element("td", { className: "told" }, parameter.description ?? ""));
  return element("table", {}, ...parameters.map(row));
}

function bodies(content) {
  return Object.entries(content ?? {}).map(([kind, body]) =>
    element("div", {}, element("code", {}, kind), ` ${nameOf(body.schema)}`, members(body.schema)));
}

function responses(operation) {
  return Object.entries(operation.responses ?? {}).map(([status, response]) =>
    element("details", {}, element("summary", {}, element("b", {}, status), ` ${response.description ?? ""}`),
      ...bodies(response.content)));
}

// The form that sends the request, and what came back.
function sender(method, path, operation) {
  const parameters = operation.parameters ?? [];
  const inputs = parameters.map((parameter) =>
    element("input", { placeholder: `${parameter.name} (${parameter.in})`, required: parameter.required }));
  const kind = Object.keys(operation.requestBody?.content ?? {})[0];
  const body = kind && element("textarea", { spellcheck: false, ariaLabel: "Body",
    value: JSON.stringify(example(operation.requestBody.content[kind].schema), null, 2) });
  const answer = element("pre", { hidden: true });
  const form = element("form", {}, element("h3", {}, "Send a request"), ...inputs, body ?? "",
    element("button", {}, `${method.toUpperCase()} it`), answer);
  form.onsubmit = async (event) => {
    event.preventDefault();
    const headers = new Headers();
    const query = new URLSearchParams();
    let target = path;
    parameters.forEach((parameter, at) => {
      const value = inputs[at].value;
      if (value === "") return;
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(value));
      if (parameter.in === "query") query.append(parameter.name, value);
      if (parameter.in === "header") headers.set(parameter.name, value);
    });
    const key = document.getElementById("key").value;
    if (key) headers.set("authorization", `Bearer ${key}`);
    if (body) headers.set("content-type", kind);
    // Relative to this page, so that it works behind a prefix too.
    const url = `.${target}${query.size ? `?${query}` : ""}`;
    answer.hidden = false;
    answer.textContent = "…";
    try {
      const response = await fetch(url, { method: method.toUpperCase(), headers, body: body?.value });
      answer.textContent = `${response.status} ${response.statusText}\n`;
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      for (let chunk = await reader?.read(); chunk && !chunk.done; chunk = await reader.read()) {
        answer.textContent += chunk.value;
      }
      const [status, ...lines] = answer.textContent.split("\n");
      try {
        answer.textContent = `${status}\n${JSON.stringify(JSON.parse(lines.join("\n")), null, 2)}`;
      } catch { /* not JSON: shown as it came */ }
    } catch (error) {
      answer.textContent += `\nThe request failed: ${error.message}`;
    }
  };
  return form;
}

function details(method, path, operation) {
  const parameters = operation.parameters ?? [];
  return element("div", {},
    operation.description && element("p", { className: "told" }, operation.description),
    ...(parameters.length ? [element("h3", {}, "Parameters"), parameterTable(parameters)] : []),
    ...(operation.requestBody ? [element("h3", {}, "Body"), ...bodies(operation.requestBody.content)] : []),
    element("h3", {}, "Responses"), ...responses(operation), sender(method, path, operation));
}

function shown(method, path, operation) {
  const box = element("details", { className: "operation", id: operation.operationId ?? "" },
    element("summary", {}, element("span", { className: `method ${method}` }, method.toUpperCase()),
      element("code", {}, path), element("span", { className: "says" }, operation.summary ?? ""),
      element("a", { className: "link", href: `#${operation.operationId ?? ""}`, title: "Link to this operation" }, "#")));
  // What is inside is made when it is first opened.
  box.ontoggle = () => {
    if (box.open && box.children.length === 1) box.append(details(method, path, operation));
  };
  box.dataset.text = `${method} ${path} ${operation.summary ?? ""} ${operation.description ?? ""}`.toLowerCase();
  return box;
}

const anchorOf = (topic) => `topic-${topic.name.toLowerCase().replaceAll(" ", "-")}`;

// A topic in the list at the top, with a link to each of its operations.
function listed(topic, operations) {
  const links = operations.map(([method, path, operation]) => element("li", {},
    element("a", { href: `#${operation.operationId}`, title: `${method.toUpperCase()} ${path}` },
      operation.summary ?? path)));
  return element("details", { className: "topic" },
    element("summary", {}, element("a", { href: `#${anchorOf(topic)}` }, topic.name),
      element("span", { className: "says" }, topic.description ?? "")),
    element("ul", {}, ...links));
}

// A topic with its operations.
function section(topic, operations) {
  return element("section", { id: anchorOf(topic) }, element("h2", {}, topic.name),
    topic.description ? element("p", {}, topic.description) : "",
    ...operations.map((operation) => shown(...operation)));
}

// Opens the operation that the page's address names.
function openLinked() {
  const linked = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!linked) return;
  if (linked.matches("details.operation")) linked.open = true;
  linked.scrollIntoView();
}

function filter() {
  const wanted = document.getElementById("filter").value.toLowerCase().split(/\s+/);
  for (const section of document.querySelectorAll("section")) {
    const boxes = [...section.querySelectorAll("details.operation")];
    boxes.forEach((box) => { box.hidden = !wanted.every((word) => box.dataset.text.includes(word)); });
    section.hidden = boxes.every((box) => box.hidden);
  }
}

async function start() {
  const main = document.getElementById("operations");
  try {
    description = await (await fetch("openapi.json")).json();
  } catch (error) {
    main.textContent = `openapi.json cannot be read: ${error.message}`;
    return;
  }
  document.getElementById("version").textContent = `It is version ${description.info.version}.`;
  const sections = new Map();
  for (const [path, item] of Object.entries(description.paths)) {
    for (const method of METHODS.filter((method) => item[method])) {
      const tag = item[method].tags?.[0] ?? "Other";
      if (!sections.has(tag)) sections.set(tag, []);
      sections.get(tag).push([method, path, item[method]]);
    }
  }
  const known = (description.tags ?? []).filter((tag) => sections.has(tag.name));
  const others = [...sections.keys()].filter((name) => !known.some((tag) => tag.name === name));
  const topics = [...known, ...others.map((name) => ({ name }))];
  document.getElementById("topics").replaceChildren(...topics.map((topic) => listed(topic, sections.get(topic.name))));
  main.replaceChildren(...topics.map((topic) => section(topic, sections.get(topic.name))));
  document.getElementById("filter").oninput = filter;
  document.getElementById("settings").onsubmit = (event) => event.preventDefault();
  window.onhashchange = openLinked;
  openLinked();
}

start();
