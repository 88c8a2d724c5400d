"""Environments of PettingZoo and Gymnasium that break a promise, or keep all of them.

``env`` is what ``pettingzoo:made_up_environments(flaw=...)`` calls; the ids of Gymnasium are
registered when this module is imported.
"""

import gymnasium
import numpy as np
from gymnasium import spaces
from pettingzoo import AECEnv


class Race(AECEnv):
    """Each agent in turn takes one or two of seven stones; the last stone wins."""

    def __init__(self, flaw: str = ""):
        self.metadata = {"name": "race", "render_modes": []}
        self.flaw = flaw
        self.possible_agents = ["a", "b", "c"] if flaw == "three" else ["a", "b"]
        if flaw == "lambda":
            self.never = lambda: None

    def observation_space(self, agent):
        seen = spaces.Box(0, 7, (8,), np.float32)
        return spaces.Dict({"observation": seen, "action_mask": spaces.Box(0, 1, (2,), np.int8)})

    def action_space(self, agent):
        return spaces.Box(0, 1, (2,)) if self.flaw == "continuous" else spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        self.agents = self.possible_agents[:]
        self.left = 7
        self.noise = np.random.default_rng(seed)
        self.agent_selection = "b" if self.flaw == "b begins" else "a"
        self.rewards = dict.fromkeys(self.agents, 0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: {} for agent in self.agents}

    def observe(self, agent):
        mask = np.array([self.left >= 1, self.left >= 2], np.int8)
        seen = (np.arange(8) == self.left).astype(np.float32)
        seen[0] = self.noise.random() if self.flaw == "chance" else 0
        return {"observation": seen} if self.flaw == "no mask" else {
            "observation": seen, "action_mask": mask}  # fmt: skip

    def step(self, action):
        self.left -= int(action) + 1
        mover = self.agent_selection
        other = "b" if mover == "a" else "a"
        self.agent_selection = other
        if self.left == 0:
            self.rewards = {mover: 1, other: 1 if self.flaw == "generous" else -1}
            self.terminations = dict.fromkeys(self.agents, True)


def env(**settings):
    return Race(**settings)


class Walk(gymnasium.Env):
    """Five cells, from the middle to either end; the reward is that of the end."""

    observation_space = spaces.Discrete(5)
    action_space = spaces.Discrete(2)

    def __init__(self, ends=(0.5, 0.75), **_):
        self.ends = ends

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell = 2
        return self.cell, {}

    def step(self, action):
        self.cell += 2 * int(action) - 1
        over = self.cell in (0, 4)
        return self.cell, self.ends[self.cell // 4] if over else 0, over, False, {}


class Endless(Walk):
    """The same without an end, and with a count of the steps of all copies."""

    steps = 0

    def step(self, action):
        Endless.steps += 1
        return self.cell, 0, False, False, {}


gymnasium.register("made_up/Endless-v0", Endless)
for name, ends in (("Walk-v0", (0.5, 0.75)), ("Rich-v0", (2, 3))):
    gymnasium.register(f"made_up/{name}", Walk, kwargs={"ends": ends}, max_episode_steps=20)
