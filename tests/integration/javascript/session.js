// SPDX-License-Identifier: MIT
// One session with the published JavaScript client of OpenPAI; prints what each step gave as one JSON object.
// Environment: PAI_URI, PAI_USER, PAI_PASSWORD; JOB_PREFIX keeps the jobs of several sessions apart.
'use strict';

const http = require('http');
const { PAIV1, PAIV2 } = require('@microsoft/openpai-js-sdk');

const { PAI_URI: uri, PAI_USER: user, PAI_PASSWORD: password, JOB_PREFIX: prefix } = process.env;
const steps = {};

async function step(name, action) {
  try {
    steps[name] = { value: await action() };
  } catch (error) {
    const answer = error.data || (error.response && error.response.data) || {};
    steps[name] = { error: error.constructor.name, code: answer.code, message: answer.message || error.message };
  }
  return steps[name].value;
}

function document(name, command, instances) {
  return {
    protocolVersion: 2,
    name,
    type: 'job',
    prerequisites: [{ type: 'dockerimage', name: 'image', uri: 'python:3.11', protocolVersion: 2 }],
    secrets: { word: 'clear text of the secret' },
    parameters: { what: 'hello' },
    taskRoles: {
      ps_server: {
        instances,
        dockerImage: 'image',
        resourcePerInstance: { cpu: 1, memoryMB: 64, gpu: 0 },
        commands: [command],
      },
    },
  };
}

function fetchText(path) {
  return new Promise((resolve, reject) => {
    http.get(uri + path, (answer) => {
      let text = '';
      answer.on('data', (piece) => { text += piece; });
      answer.on('end', () => resolve({ status: answer.statusCode, text }));
    }).on('error', reject);
  });
}

async function waitFor(client, name, states) {
  for (;;) {
    const job = await client.job.getJob(user, name);
    if (states.includes(job.jobStatus.state)) return job;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function jobs(client) {
  const name = `${prefix}-done`;
  await step('submit', () => client.job.createJob(document(name, 'echo <% $parameters.what %>', 2)));
  await step('submitAgain', () => client.job.createJob(document(name, 'true', 1)));
  await step('submitInvalid', () => client.job.createJob({ name: `${prefix}-invalid` }));
  await step('detail', () => waitFor(client, name, ['SUCCEEDED', 'FAILED']));
  await step('attempt', () => client.job.getJob(user, name, 0));
  await step('attemptThatIsNot', () => client.job.getJob(user, name, 7));
  await step('detailThatIsNot', () => client.job.getJob(user, `${prefix}-nope`));
  await step('config', () => client.job.getJobConfig(user, name));
  await step('task', () => client.job.getTask(user, name, 0, 'psserver', 1));
  const logs = await step('logs', () => client.job.getTaskLogs(user, name, 0, 'psserver', 1, 0));
  await step('logsTail', () => client.job.getTaskLogs(user, name, 0, 'psserver', 1, 0, true));
  await step('logContent', () => fetchText(logs.locations.find((place) => place.name === 'stdout').uri));
  await step('events', () => client.job.listEvents(user, name));
  await step('warnings', () => client.job.listEvents(user, name, { type: 'Warning' }));
  await step('attemptsHealth', () => client.jobHistory.getJobAttemptsHealthz(user, name));
  await step('attempts', () => client.jobHistory.getJobAttempts(user, name));
  await step('attemptOfHistory', () => client.jobHistory.getJobAttempt(user, name, 0));

  const long = `${prefix}-long`;
  await step('submitLong', () => client.job.createRunningJob(document(long, 'sleep 600', 1)));
  await step('start', () => client.job.updateJobExecutionType(user, long, 'START'));
  await step('stop', () => client.job.updateJobExecutionType(user, long, 'STOP'));
  await step('stopped', () => waitFor(client, long, ['STOPPED']));

  await step('addTag', () => client.job.addTag(user, name, 'good'));
  await step('listTagged', () => client.job.listJobs({ tagsContain: 'good' }));
  await step('deleteTag', () => client.job.deleteTag(user, name, 'good'));
  await step('deleteTagAgain', () => client.job.deleteTag(user, name, 'good'));

  await step('list', () => client.job.listJobs());
  const page = { username: user, keyword: prefix, order: 'jobName,ASC', limit: 1, withTotalCount: true };
  await step('firstPage', () => client.job.listJobs({ ...page, offset: 0 }));
  await step('secondPage', () => client.job.listJobs({ ...page, offset: 1 }));
  await step('listByState', () => client.job.listJobs({ state: 'STOPPED', keyword: prefix, vc: 'default' }));
}

async function tokens(client) {
  const made = await step('applicationToken', () => client.token.createApplicationToken());
  await step('tokens', () => client.token.getTokens());
  const application = new PAIV2.OpenPAIClient({ pai_uri: uri, username: user, token: made.token });
  await step('applicationLists', () => application.job.listJobs({ limit: 1 }));
  await step('applicationManages', () => application.token.getTokens());
  await step('revoke', () => client.token.deleteToken(made.token));
  await step('applicationIsGone', () => application.job.listJobs({ limit: 1 }));
}

async function places(client) {
  await step('info', () => client.api.getClusterInfo());
  await step('clusters', () => client.virtualCluster.listVirtualClusters());
  await step('cluster', () => client.virtualCluster.getVirtualCluster('default'));
  await step('clusterThatIsNot', () => client.virtualCluster.getVirtualCluster('nope'));
  await step('skuTypes', () => client.virtualCluster.getVirtualClusterSkuTypes('default'));
  await step('storages', () => client.storage.getStorages());
  await step('defaultStorages', () => client.storage.getStorages(true));
  await step('storageThatIsNot', () => client.storage.getStorage('nope'));
  await step('users', () => client.user.getAllUser());
  await step('user', () => client.user.getUser(user));
  await step('userThatIsNot', () => client.user.getUser('nope'));
}

async function people(client) {
  const [username, first, second] = [`${prefix}-carol`, 'a first password', 'a second password'];
  const carol = { username, email: 'carol@example.com', virtualCluster: ['default'], admin: false };
  await step('createUser', () => client.user.createUser({ ...carol, password: first }));
  await step('createUserAgain', () => client.user.createUser({ ...carol, password: first }));
  await step('updateUser', () => client.user.updateUser({ username, password: second }));
  const hers = new PAIV2.OpenPAIClient({ pai_uri: uri, username, password: second });
  await step('updateUserSelf', () => hers.user.updateUserSelf({ username, email: 'new@example.com' }));
  await step('userUpdated', () => client.user.getUser(username));
  await step('hersStopsOurs', () => hers.job.updateJobExecutionType(user, `${prefix}-done`, 'STOP'));
  await step('hersSeesOurs', () => hers.job.getJob(user, `${prefix}-done`));
  await step('hersManages', () => hers.user.createUser({ ...carol, username: 'x', password: first }));
  await step('hersNodes', () => hers.kubernetes.getK8sNodes());

  const groupname = `${prefix}_team`;
  const extension = { acls: { admin: false, virtualClusters: ['default'], storageConfigs: [] } };
  const group = { groupname, description: 'a team', externalName: '', extension };
  await step('createGroup', () => client.group.createGroup(group));
  await step('updateGroup', () => client.group.updateGroup({ patch: true, data: { groupname, description: 'x' } }));
  await step('group', () => client.group.getGroup(groupname));
  await step('groups', () => client.group.getAllGroup());
  await step('addToGroup', () => client.user.updateUserGroup(username, groupname));
  await step('members', () => client.group.getGroupMembers(groupname));
  await step('removeFromGroup', () => client.user.deleteUserGroup(username, groupname));
  await step('setGroups', () => client.user.updateUserGrouplist(username, ['default', groupname]));
  await step('userInGroups', () => client.user.getUser(username));
  await step('deleteGroup', () => client.group.deleteGroup(groupname));
  await step('groupThatIsNot', () => client.group.getGroup(groupname));
  await step('deleteUser', () => client.user.deleteUser(username));
  await step('deletedLists', () => hers.job.listJobs());

  await step('nodes', () => client.kubernetes.getK8sNodes());
  await step('pods', () => client.kubernetes.getK8sPods({ namespace: 'default' }));
}

async function version1() {
  const old = new PAIV1.OpenPAIClient({ rest_server_uri: `${uri}/rest-server`, username: user, password });
  await step('v1Authn', () => old.authn.info());
  await step('v1Token', () => old.authn.createApplicationToken());
  await step('v1Jobs', () => old.job.list());
}

async function logins() {
  const cluster = { pai_uri: uri, username: user, password };
  const client = new PAIV2.OpenPAIClient(cluster);
  await step('token', () => client.getToken());
  await step('wrongPassword', () => client.authn.basicLogin(user, 'not the password'));
  await step('login', () => client.authn.basicLogin(user, password, 3600));
  await step('oidc', () => client.authn.oidcLogin());
  await step('logout', () => client.authn.basicLogout());
  await step('afterLogout', () => client.job.listJobs());
}

async function main() {
  const client = new PAIV2.OpenPAIClient({ pai_uri: uri, username: user, password });
  await jobs(client);
  await tokens(client);
  await places(client);
  await people(client);
  await version1();
  await logins();
  process.stdout.write(JSON.stringify(steps));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
