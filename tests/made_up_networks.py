"""Networks of a user's own for tests, and some that break a promise."""

from torch import nn


class Own(nn.Module):
    """A tower under a policy and a value, of layers that every backend has."""

    activation = nn.ReLU

    def __init__(self, shape, num_actions):
        super().__init__()
        planes, height, width = shape
        self.tower = nn.Sequential(nn.Conv2d(planes, planes, 3, padding=1), self.activation())
        self.policy = nn.Sequential(nn.Flatten(), nn.Linear(planes * height * width, num_actions))
        self.value = nn.Sequential(nn.Flatten(), nn.Linear(planes * height * width, 3))

    def forward(self, observations):
        features = self.tower(observations)
        return self.policy(features), self.value(features)


class Shortcut(Own):
    """The heads also see the input, past the tower, but not with the first weights, which are 0."""

    def __init__(self, shape, num_actions):
        super().__init__(shape, num_actions)
        for head in (self.policy, self.value):
            nn.init.zeros_(head[-1].weight)

    def forward(self, observations):
        features = self.tower(observations) + observations
        return self.policy(features), self.value(features)


class Smooth(Own):
    """An activation that has no translation."""

    activation = nn.GELU


class FewActions(Own):
    def forward(self, observations):
        policy, value = super().forward(observations)
        return policy[:, 1:], value


class FlatValue(Own):
    def forward(self, observations):
        policy, value = super().forward(observations)
        return policy, value[:, 0]


class PolicyAlone(Own):
    def forward(self, observations):
        return super().forward(observations)[:1]


class NoModule:
    def __init__(self, shape, num_actions):
        pass
