// A complete program: loads a model, lets it continue a text (or answer, where it is a chat model), streams the result.
//
//   generate MODEL "The sky is blue because"
#include <facet/engine.h>

#include <cstdint>
#include <iostream>
#include <utility>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: generate MODEL TEXT\n";
    return 2;
  }
  facet::Result<facet::Engine> engine = facet::Engine::load(argv[1], {});
  if (!engine) {
    std::cerr << engine.error().message() << '\n';
    return 1;
  }

  facet::Request request;
  request.max_tokens = 64;
  request.sampling.temperature = 0.0f;
  if (engine->info().has_chat_template) {
    facet::Message question;
    question.role = facet::Role::user;
    question.text = argv[2];
    request.messages.push_back(std::move(question));
  } else {
    request.text = argv[2];
  }

  const facet::Result<facet::Answer> answer = engine->generate(request, [](const facet::Chunk& chunk) {
    std::cout << chunk.text << std::flush;
    return true;  // false would cancel
  });
  if (!answer) {
    std::cerr << answer.error().message() << '\n';
    return 1;
  }
  std::cout << '\n' << answer->usage.generated_tokens << " tokens, ended by " << name(answer->finish) << '\n';
  return 0;
}
